package spectate

import com.google.gson.JsonObject
import java.util.concurrent.CompletableFuture

private const val CAPACITY = 100_000

// Even with all fields in full precision a frame stays below its limit of 128 KiB.
private const val BATCH = 200

// Fixes without an ack. While the database is slow new ones are still shown at once.
private const val MAX_IN_FLIGHT = 5000

// The token is good for nothing any more.
private val FINAL_ERRORS = setOf("token.required", "runner.unknown")

/** A runner's phone: keeps each fix until the server has stored it. */
class Publisher(
    url: String,
    token: String,
    private val capacity: Int = CAPACITY,
    options: Options = Options(),
) : Connection(url, token, options) {
    private val unsent = ArrayDeque<Fix>()
    private val inFlight = linkedMapOf<Int, List<Fix>>()
    private var inFlightCount = 0
    private var nextId = 1
    private var isWelcome = false
    private val flushes = mutableListOf<CompletableFuture<Unit>>()

    /** The code of the token's runner. */
    var runner: String? = null
        private set

    /**
     * The token's runner, also when an organiser has reassigned the phone: fixes without an
     * ack belonged to the previous runner and are discarded.
     */
    var onRunner: (code: String) -> Unit = {}

    /** The fixes without an ack, oldest first: keep them when the program ends. */
    @get:Synchronized
    val pending: List<Fix>
        get() = inFlight.values.flatten() + unsent

    /**
     * Queue a fix. Returns false if the queue is full or the server has refused the token.
     * Throws `IllegalArgumentException` for a fix that JSON cannot encode (NaN).
     */
    @Synchronized
    fun add(fix: Fix): Boolean {
        if (isEnded || unsent.size + inFlightCount >= capacity) return false
        // Fail here: in a batch the error would have no caller, and the batch no ack.
        gson.toJsonTree(fix)
        unsent += fix
        send()
        return true
    }

    /** Done once every fix is acked or refused, or the client has ended or was stopped. */
    @Synchronized
    fun flush(): CompletableFuture<Unit> {
        if (isEnded || isFlushed) return CompletableFuture.completedFuture(Unit)
        return CompletableFuture<Unit>().also { flushes += it }
    }

    @Synchronized
    override fun stop() {
        super.stop()
        completeFlushes()
    }

    private val isFlushed get() = unsent.isEmpty() && inFlight.isEmpty()

    private fun completeFlushes() {
        flushes.forEach { it.complete(Unit) }
        flushes.clear()
    }

    override fun opened() {
        // The server stores a fix once, whatever number of times it arrives.
        inFlight.values.reversed().forEach(::requeue)
        inFlight.clear()
        inFlightCount = 0
        isWelcome = false
    }

    private fun requeue(batch: List<Fix>) = batch.asReversed().forEach(unsent::addFirst)

    override fun nextMessage(): JsonObject? {
        if (!isWelcome || unsent.isEmpty() || inFlightCount >= MAX_IN_FLIGHT) return null
        val batch = List(minOf(BATCH, unsent.size)) { unsent.removeFirst() }
        inFlight[nextId] = batch
        inFlightCount += batch.size
        return JsonObject().apply {
            addProperty("type", "publish")
            addProperty("id", nextId++)
            add("fixes", gson.toJsonTree(batch))
        }
    }

    override fun received(message: JsonObject) {
        when (message.text("type")) {
            "welcome" -> message.text("runner")?.let(::welcomed)
            "ack" -> land(message)?.let { acked(message, it) }
            "error" -> land(message)?.let { refused(message, it) }
        }
        if (isFlushed) completeFlushes()
    }

    /** Remove a message's batch from those on their way. */
    private fun land(message: JsonObject): List<Fix>? {
        val id = message.known("id") ?: return null
        val batch = id.asString.toIntOrNull()?.let(inFlight::remove)
        inFlightCount -= batch?.size ?: 0
        return batch
    }

    private fun welcomed(code: String) {
        if (code != runner) {
            if (runner != null) unsent.clear()
            runner = code
            onRunner(code)
        }
        if (unsent.isEmpty()) answered()
        isWelcome = true
    }

    private fun acked(ack: JsonObject, batch: List<Fix>) {
        answered()
        ack.getAsJsonArray("rejected").map { it.asJsonArray }.forEach {
            val fix = batch[it[0].asInt]
            onRefused(it[1].asString, it[2].asString, Refused(null, listOf(fix)))
        }
    }

    private fun refused(error: JsonObject, batch: List<Fix>) {
        val code = error["code"].asString
        val detail = error["detail"].asString
        val isFinal = code in FINAL_ERRORS
        if (!isFinal && code !in TEMPORARY_ERRORS) {
            return onRefused(code, detail, Refused(null, batch))
        }
        requeue(batch)
        if (isFinal) end(code, detail) else retryLater(error)
    }
}
