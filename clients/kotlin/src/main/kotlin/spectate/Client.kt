// Spectate in Kotlin with OkHttp and org.json: a sketch, not compiled. The rules are those
// of README.md.

import java.util.concurrent.Executors
import java.util.concurrent.ScheduledFuture
import java.util.concurrent.TimeUnit.MILLISECONDS
import kotlin.random.Random
import okhttp3.OkHttpClient
import okhttp3.Request
import okhttp3.Response
import okhttp3.WebSocket
import okhttp3.WebSocketListener
import org.json.JSONArray
import org.json.JSONObject

data class Fix(val t: Long, val lat: Double, val lng: Double)

/** A socket that comes back by itself. All of it in one thread. */
abstract class Client(private val url: String, private val token: String? = null) {
    private companion object {
        // Rules 4 and 5.
        val FINAL = setOf(4400, 4401, 4403)
        val BUSY = setOf(1013, 4413, 4429)
        val http = OkHttpClient()
    }

    protected val thread = Executors.newSingleThreadScheduledExecutor()!!
    private var socket: WebSocket? = null
    private var attempts = 0
    private var reconnect: Long? = null
    private var heartbeat = 20_000L // ms
    private var silence: ScheduledFuture<*>? = null

    /** This connection's `welcome` has come; OkHttp queues what is sent before it opens. */
    protected var isWelcome = false
        private set

    /** The server does not want this client as it is: ask for another token or link. */
    var onEnded: (Int) -> Unit = {}

    /** Also when the app or the network comes back (ConnectivityManager): rule 7. */
    fun start() = thread.execute {
        if (socket == null) connect() else say(JSONObject().put("type", "ping"))
    }

    private fun connect() {
        val request = Request.Builder().url(url).header("Sec-WebSocket-Protocol", "spectate.v1")
        if (token != null) request.header("Authorization", "Bearer $token")
        reconnect = null
        socket = http.newWebSocket(request.build(), Listener())
        expectFrame()
    }

    protected fun say(message: JSONObject) {
        socket?.send(message.toString())
    }

    /** Say what there is to say on a new connection. */
    protected open fun opened() {}

    /** Take a message; unknown ones are passed over (rule 10). */
    protected abstract fun heard(message: JSONObject)

    /** What was asked for was answered: rule 2. */
    protected fun answered() {
        attempts = 0
    }

    private inner class Listener : WebSocketListener() {
        override fun onOpen(webSocket: WebSocket, response: Response) = of(webSocket) { opened() }

        override fun onMessage(webSocket: WebSocket, text: String) = of(webSocket) {
            val message = JSONObject(text)
            expectFrame()
            when (message.getString("type")) {
                "welcome" -> {
                    heartbeat = 1000L * message.getLong("heartbeat")
                    isWelcome = true
                }
                "reconnect" -> reconnect = message.getLong("after") // Rule 3.
            }
            heard(message)
        }

        override fun onClosing(webSocket: WebSocket, code: Int, reason: String) {
            webSocket.close(1000, null)
            of(webSocket) { closed(code) }
        }

        // 403 is a refused handshake: as final as rule 4.
        override fun onFailure(webSocket: WebSocket, t: Throwable, response: Response?) =
            of(webSocket) { closed(if (response?.code == 403) 4403 else 1006) }

        private fun of(webSocket: WebSocket, work: () -> Unit) =
            thread.execute { if (webSocket === socket) work() }
    }

    private fun expectFrame() { // Rule 7.
        silence?.cancel(false)
        silence = thread.schedule({ closed(1006) }, heartbeat * 5 / 2, MILLISECONDS)
    }

    private fun closed(code: Int) {
        silence?.cancel(false)
        socket?.cancel()
        socket = null
        isWelcome = false
        if (code in FINAL) return onEnded(code)
        if (code in BUSY) attempts = maxOf(attempts, 4)
        val most = minOf(30_000L, 1000L shl minOf(attempts, 10)) // Rules 1 and 6.
        val wait = reconnect ?: Random.nextLong(most + 1)
        attempts += 1
        thread.schedule({ if (socket == null) connect() }, wait, MILLISECONDS)
    }
}

/** A runner's phone: keeps each fix until it is acked (rule 8). */
class Publisher(url: String, token: String) : Client(url, token) {
    private var unsent = listOf<Fix>() // In a database, if they matter.
    private val sent = linkedMapOf<Int, List<Fix>>()
    private var nextId = 1
    private var runner: String? = null

    fun add(fix: Fix) = thread.execute {
        unsent = unsent + fix
        publish()
    }

    override fun opened() {
        unsent = sent.values.flatten() + unsent
        sent.clear()
    }

    override fun heard(message: JSONObject) {
        val batch = { sent.remove(message.optInt("id")).orEmpty() }
        when (message.getString("type")) {
            "welcome" -> {
                val now = message.optString("runner")
                // The phone was given to another runner: these are not theirs.
                if (runner != null && runner != now) unsent = listOf()
                runner = now
                publish()
            }
            "ack" -> { // `rejected` would be refused again.
                batch()
                answered()
            }
            "error" -> {
                val refused = batch()
                if (message.getString("code") in setOf("rate.limited", "store.unavailable")) {
                    unsent = refused + unsent
                    thread.schedule({ publish() }, message.getLong("after"), MILLISECONDS)
                }
            }
        }
    }

    private fun publish() {
        while (isWelcome && unsent.isNotEmpty()) {
            val batch = unsent.take(500)
            unsent = unsent.drop(500)
            sent[nextId] = batch
            val fixes = batch.map { JSONObject(mapOf("t" to it.t, "lat" to it.lat, "lng" to it.lng)) }
            say(
                JSONObject().put("type", "publish").put("id", nextId++)
                    .put("fixes", JSONArray(fixes))
            )
        }
    }
}

/** Follows; misses nothing that was stored while it was away (rule 9). */
class Spectator(url: String, private val follow: JSONObject) : Client(url) {
    private var since: Long? = null
    private var isComplete = false
    private val newest = mutableMapOf<String, Long>()

    var onMoved: (code: String, t: Long, lat: Double, lng: Double) -> Unit = { _, _, _, _ -> }
    var onPassed: (code: String, t: Long, lat: Double, lng: Double) -> Unit = { _, _, _, _ -> }
    var onLost: (code: String) -> Unit = {}

    /** Fetch /runners/CODE/track.json?since= until it succeeds. */
    var onGap: (code: String, since: Long) -> Unit = { _, _ -> }

    override fun opened() {
        isComplete = false
        say(JSONObject(follow.toString()).put("type", "follow").putOpt("since", since))
    }

    override fun heard(message: JSONObject) {
        val type = message.getString("type")
        when (type) {
            "snapshot" -> {
                message.getJSONArray("runners").objects().forEach { runner ->
                    runner.optJSONArray("fix")?.let { move(runner.getString("code"), it, 0) }
                }
                val truncated = message.getJSONArray("truncated")
                (0 until truncated.length()).forEach { onGap(truncated.getString(it), since ?: 0) }
                if (!message.getBoolean("more")) {
                    isComplete = true
                    answered()
                }
            }
            "positions" -> message.getJSONArray("fixes").arrays()
                .forEach { move(it.getString(0), it, 1) }
            "late" -> message.getJSONArray("fixes").arrays().forEach {
                onPassed(
                    message.getString("runner"), it.getLong(0), it.getDouble(1), it.getDouble(2)
                )
            }
            "event" ->
                if (message.getString("kind") == "access" || message.optString("change") == "removed")
                    message.optString("runner").takeIf { it.isNotEmpty() }?.let(onLost)
            "error" ->
                if (message.getString("code") == "store.unavailable")
                    thread.schedule({ opened() }, message.getLong("after"), MILLISECONDS)
        }
        // Not the snapshot's own time: what was missed comes right behind it.
        if (isComplete && type != "snapshot" && message.has("time")) since = message.getLong("time")
    }

    private fun move(code: String, row: JSONArray, at: Int) {
        val t = row.getLong(at)
        if (t <= (newest[code] ?: 0)) return
        newest[code] = t
        onMoved(code, t, row.getDouble(at + 1), row.getDouble(at + 2))
    }
}

private fun JSONArray.objects() = (0 until length()).map(::getJSONObject)
private fun JSONArray.arrays() = (0 until length()).map(::getJSONArray)
