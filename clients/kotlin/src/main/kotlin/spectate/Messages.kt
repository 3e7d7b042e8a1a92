package spectate

import com.google.gson.Gson
import com.google.gson.JsonArray
import com.google.gson.JsonElement
import com.google.gson.JsonObject

/** A position to publish. `t` in ms since the epoch; metres, m/s, degrees, per cent. */
data class Fix(
    val t: Long,
    val lat: Double,
    val lng: Double,
    val accuracy: Double? = null,
    val altitude: Double? = null,
    val speed: Double? = null,
    val heading: Double? = null,
    val battery: Double? = null,
)

/** A position that was received; `progress` and its `uncertainty` in metres. */
data class Position(
    val t: Long,
    val lat: Double,
    val lng: Double,
    val speed: Double? = null,
    val heading: Double? = null,
    val progress: Double? = null,
    val uncertainty: Double? = null,
)

/** What the server refused for good: the code of a runner, the slug of a race or fixes. */
data class Refused(val subject: String?, val fixes: List<Fix> = emptyList())

internal val gson = Gson()

internal fun JsonObject.text(name: String): String? = known(name)?.asString

internal fun JsonObject.known(name: String): JsonElement? = get(name)?.takeUnless { it.isJsonNull }

internal fun JsonArray.double(at: Int): Double? =
    if (at < size() && !get(at).isJsonNull) get(at).asDouble else null

/** A row after the runner's code. Later versions may append values. */
internal fun positionOf(row: JsonArray) = Position(
    t = row[0].asLong,
    lat = row[1].asDouble,
    lng = row[2].asDouble,
    speed = row.double(3),
    heading = row.double(4),
    progress = row.double(5),
    uncertainty = row.double(6),
)
