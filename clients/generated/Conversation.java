import java.net.http.HttpClient;
import java.time.OffsetDateTime;
import java.util.Map;
import spectate.live.api.IntakeApi;
import spectate.live.api.LiveApi;
import spectate.organisers.ApiClient;
import spectate.organisers.ApiException;
import spectate.organisers.api.RacesApi;
import spectate.organisers.model.RaceIn;

/** Clients that openapi-generator made, with a server: `URL TOKEN KEY`. */
class Conversation {
  public static void main(String[] args) throws Exception {
    String url = args[0], token = args[1], key = args[2];
    var live = new spectate.live.ApiClient();
    live.updateBaseUri(url);
    live.setHttpClientBuilder(http());
    new IntakeApi(live).publishFixes(token, Map.of("lat", 48.7, "lon", 2.2));
    var snapshot = new LiveApi(live).getSnapshot(null, null, "generated", null, null, null);
    expect(snapshot.getRunners().get(0).getFix() != null);

    var office = new RacesApi(client(url, key));
    var race = new RaceIn().name("Spring run").start(OffsetDateTime.parse("2027-04-03T10:00Z"));
    office.writeRace("java", race, null, null);
    var page = office.listRaces(null, null);
    expect(page.getItems().stream().anyMatch(each -> each.getSlug().equals("java")));
    try {
      new RacesApi(client(url, "wrong")).listRaces(null, null);
      expect(false);
    } catch (ApiException error) {
      expect(error.getCode() == 401);
    }
  }

  private static ApiClient client(String url, String key) {
    var client = new ApiClient();
    client.updateBaseUri(url);
    client.setHttpClientBuilder(http());
    client.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + key));
    return client;
  }

  /** Without TLS it would ask for HTTP/2 first, which a server without a proxy refuses. */
  private static HttpClient.Builder http() {
    return HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1);
  }

  private static void expect(boolean isSo) {
    if (!isSo) throw new AssertionError();
  }
}
