package spectate

import com.google.gson.JsonObject
import com.google.gson.JsonParser
import java.util.concurrent.Executors
import java.util.concurrent.TimeUnit.MILLISECONDS
import kotlin.random.Random
import okhttp3.OkHttpClient
import okhttp3.Request
import okhttp3.Response
import okhttp3.WebSocket
import okhttp3.WebSocketListener

/** Runs a task after a delay in ms; returns a function that cancels it. */
typealias Schedule = (delay: Long, task: () -> Unit) -> (() -> Unit)

/** What a client needs of its surroundings. */
class Options(
    val http: OkHttpClient = sharedHttp,
    val schedule: Schedule = ::scheduleTimer,
    val random: () -> Double = Random::nextDouble,
)

private val sharedHttp by lazy { OkHttpClient() }

private val timers = Executors.newSingleThreadScheduledExecutor { task ->
    Thread(task, "spectate").apply { isDaemon = true }
}

private fun scheduleTimer(delay: Long, task: () -> Unit): () -> Unit {
    val timer = timers.schedule(task, delay, MILLISECONDS)
    return { timer.cancel(false) }
}

private const val NO_CLOSE_FRAME = 1006
private const val HANDSHAKE_REFUSED = 403

// Reconnecting with the same credentials would only end the same way.
private val FINAL_CODES = setOf(4400, 4401, 4403)
private val OVERLOAD_CODES = setOf(1013, 4413, 4429)
private const val OVERLOAD_ATTEMPTS = 4
private const val MAX_BACKOFF_MS = 30_000L

// Until the server says how long it is.
private const val DEFAULT_HEARTBEAT_MS = 20_000L

// The connection is lost after so many heartbeats without a frame.
private const val SILENT_HEARTBEATS = 2.5

// The request succeeds later; nothing of it was stored.
internal val TEMPORARY_ERRORS = setOf("rate.limited", "store.unavailable", "server.error")

/**
 * Connects until `stop()` or until the server refuses it for good.
 *
 * May be used from any thread. Callbacks are called in a background thread.
 */
abstract class Connection(
    private val url: String,
    private val token: String?,
    private val options: Options,
) {
    private var socket: WebSocket? = null
    private var heartbeat = DEFAULT_HEARTBEAT_MS
    private var cancelSilence: () -> Unit = {}
    private var cancelReconnect: () -> Unit = {}

    // Nothing is sent before the `after` of an error.
    private var cancelHold: (() -> Unit)? = null

    // Connections in a row on which no request was answered.
    private var attempts = 0

    // The `after` of the last error, in ms, until a request is answered.
    private var after = 0L
    private var reconnect: Long? = null
    private var lastError: Pair<String, String>? = null
    private var isOpen = false
    private var isStopped = false

    /** The server has refused this client for good. */
    var isEnded = false
        private set

    /** The user has to act: code and detail. There will be no further attempt. */
    var onEnded: (code: String, detail: String) -> Unit = { _, _ -> }

    /** A part was refused for good. */
    var onRefused: (code: String, detail: String, refused: Refused) -> Unit = { _, _, _ -> }

    @Synchronized
    fun start() {
        isStopped = false
        connect()
    }

    /** Close the connection; do not reconnect. */
    @Synchronized
    open fun stop() {
        isStopped = true
        socket?.close(1000, null)
        forget()
    }

    /** The network or the app is back (ConnectivityManager): do not wait. */
    @Synchronized
    fun wake() {
        when {
            isStopped -> return
            socket == null -> {
                cancelReconnect()
                connect()
            }
            isOpen -> socket?.send("""{"type": "ping"}""")
        }
    }

    /** Prepare what is to be sent on a new connection. */
    protected abstract fun opened()

    /** The next message to send now, which counts as sent; null if there is none. */
    protected abstract fun nextMessage(): JsonObject?

    /** Process a message; unknown ones are ignored. */
    protected abstract fun received(message: JsonObject)

    /** Send what there is. */
    protected fun send() {
        if (!isOpen || cancelHold != null) return
        generateSequence { nextMessage() }.forEach { socket?.send(it.toString()) }
    }

    /** A request was answered: the next backoff starts from one second. */
    protected fun answered() {
        attempts = 0
        after = 0
    }

    /** Send again after the time that an error gives. */
    protected fun retryLater(error: JsonObject) {
        val delay = error.known("after")?.asLong ?: MAX_BACKOFF_MS
        after = delay
        cancelHold?.invoke()
        cancelHold = options.schedule(delay) { release() }
    }

    protected fun end(code: String, detail: String) {
        isEnded = true
        stop()
        onEnded(code, detail)
    }

    @Synchronized
    private fun release() {
        cancelHold = null
        send()
    }

    @Synchronized
    private fun connect() {
        if (isStopped) return
        val request = Request.Builder().url(url).header("Sec-WebSocket-Protocol", "spectate.v1")
        token?.let { request.header("Authorization", "Bearer $it") }
        reconnect = null
        lastError = null
        heartbeat = DEFAULT_HEARTBEAT_MS
        socket = options.http.newWebSocket(request.build(), Listener())
        expectFrame()
    }

    private fun expectFrame() {
        cancelSilence()
        val silent = socket
        val delay = (heartbeat * SILENT_HEARTBEATS).toLong()
        cancelSilence = scheduleTimer(delay) { closed(silent, NO_CLOSE_FRAME) }
    }

    private fun read(message: JsonObject) {
        when (message.text("type")) {
            "welcome" -> heartbeat = (1000 * message["heartbeat"].asDouble).toLong()
            "reconnect" -> reconnect = message["after"].asLong
            "error" -> lastError = message["code"].asString to message["detail"].asString
        }
        expectFrame()
        received(message)
        send()
    }

    @Synchronized
    private fun closed(of: WebSocket?, code: Int) {
        if (of == null || of !== socket) return
        of.cancel()
        forget()
        if (code in FINAL_CODES) {
            val (error, detail) = lastError ?: ("closed" to "The server closed with $code.")
            end(error, detail)
        } else {
            cancelReconnect = options.schedule(waitAfter(code)) { connect() }
            attempts += 1
        }
    }

    private fun waitAfter(code: Int): Long {
        reconnect?.let { return it }
        if (code in OVERLOAD_CODES) attempts = maxOf(attempts, OVERLOAD_ATTEMPTS)
        val backoff = minOf(1000L shl minOf(attempts, 10), MAX_BACKOFF_MS)
        return after + (options.random() * backoff).toLong()
    }

    /** Drop the socket, whose further events count for nothing, and all timers. */
    private fun forget() {
        socket = null
        isOpen = false
        cancelSilence()
        cancelReconnect()
        cancelHold?.invoke()
        cancelHold = null
    }

    private inner class Listener : WebSocketListener() {
        override fun onOpen(webSocket: WebSocket, response: Response) = of(webSocket) {
            isOpen = true
            opened()
            send()
        }

        override fun onMessage(webSocket: WebSocket, text: String) = of(webSocket) {
            read(JsonParser.parseString(text).asJsonObject)
        }

        override fun onClosing(webSocket: WebSocket, code: Int, reason: String) {
            webSocket.close(1000, null)
            closed(webSocket, code)
        }

        override fun onFailure(webSocket: WebSocket, t: Throwable, response: Response?) {
            if (response?.code != HANDSHAKE_REFUSED) return closed(webSocket, NO_CLOSE_FRAME)
            val detail = response.body?.string().orEmpty()
            of(webSocket) { end("handshake.refused", detail) }
        }

        private fun of(webSocket: WebSocket, work: () -> Unit) = synchronized(this@Connection) {
            if (webSocket === socket) work()
        }
    }
}
