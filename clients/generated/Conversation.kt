// Clients that openapi-generator made, with a server: `URL TOKEN KEY`.

import java.time.Duration
import java.time.OffsetDateTime
import okhttp3.OkHttpClient
import spectate.live.apis.IntakeApi
import spectate.live.apis.LiveApi
import spectate.organisers.apis.RacesApi
import spectate.organisers.infrastructure.ApiClient
import spectate.organisers.infrastructure.ClientException
import spectate.organisers.models.RaceIn

fun main(args: Array<String>) {
    val (url, token, key) = args
    // Of OkHttp, it is 10 s; a loaded machine needs longer.
    val client = OkHttpClient.Builder().readTimeout(Duration.ofMinutes(2)).build()
    IntakeApi(url, client).publishOneFix(token, "48.8".toBigDecimal(), "2.3".toBigDecimal())
    val snapshot = LiveApi(url, client).getSnapshot(runners = "generated")
    check(snapshot.runners.single().fix != null)

    val office = RacesApi(url, client)
    ApiClient.accessToken = key
    val start = OffsetDateTime.parse("2027-04-03T10:00Z")
    office.writeRace("kotlin", RaceIn(name = "Spring run", start = start))
    check(office.listRaces().items.any { it.slug == "kotlin" })
    ApiClient.accessToken = "wrong"
    val error = runCatching { office.listRaces() }.exceptionOrNull()
    check(error is ClientException && error.statusCode == 401)
}
