package spectate

import com.google.gson.JsonObject

private const val FOLLOW_ID = "follow"

/** What to follow; the fields are those of the message `follow`. */
data class Follow(
    val runners: List<String>? = null,
    val races: List<String>? = null,
    val public: Boolean? = null,
    val share: String? = null,
    val pin: String? = null,
    val tick: Int? = null,
)

/** Follows runners and misses nothing that was stored while it was disconnected. */
class Spectator(
    url: String,
    private val follow: Follow,
    options: Options = Options(),
) : Connection(url, null, options) {
    // The `time` of the last frame before which nothing was missing.
    private var since: Long? = null
    private var isFollowing = false
    private var isComplete = false
    private val newest = mutableMapOf<String, Long>()
    private val inSnapshot = mutableSetOf<String>()
    private val known = mutableMapOf<String, JsonObject>()

    /** Each runner as in a snapshot, by code. */
    @get:Synchronized
    val runners: Map<String, JsonObject>
        get() = known.toMap()

    /** The newest position of a runner. */
    var onMoved: (code: String, position: Position) -> Unit = { _, _ -> }

    /** A point of the trail, which is identified by `t` and may come repeatedly. */
    var onPassed: (code: String, position: Position) -> Unit = { _, _ -> }

    /** This runner may no longer be shown. */
    var onLost: (code: String) -> Unit = {}

    /** Fetch /runners/CODE/track.json?since= until that succeeds. */
    var onGap: (code: String, since: Long) -> Unit = { _, _ -> }

    /** Each `event`: splits, states, cheers … */
    var onEvent: (event: JsonObject) -> Unit = {}

    override fun opened() {
        isFollowing = false
        isComplete = false
        inSnapshot.clear()
    }

    override fun nextMessage(): JsonObject? {
        if (isFollowing) return null
        isFollowing = true
        return gson.toJsonTree(follow).asJsonObject.apply {
            addProperty("type", "follow")
            addProperty("id", FOLLOW_ID)
            since?.let { addProperty("since", it) }
        }
    }

    override fun received(message: JsonObject) {
        val type = message.text("type")
        when (type) {
            "snapshot" -> readSnapshot(message)
            "positions" -> message.getAsJsonArray("fixes").map { it.asJsonArray }.forEach {
                move(it.remove(0).asString, positionOf(it))
            }
            "late" -> message.getAsJsonArray("fixes").forEach {
                onPassed(message["runner"].asString, positionOf(it.asJsonArray))
            }
            "event" -> readEvent(message)
            "error" -> if (message.known("id")?.asString == FOLLOW_ID) refused(message)
        }
        // What was missed follows the snapshot, whose own time is therefore not used.
        if (isComplete && type != "snapshot") message.known("time")?.let { since = it.asLong }
    }

    private fun readSnapshot(snapshot: JsonObject) {
        snapshot.getAsJsonArray("runners").map { it.asJsonObject }.forEach { runner ->
            val code = keep(runner)
            runner.known("fix")?.let { move(code, positionOf(it.asJsonArray)) }
        }
        snapshot.getAsJsonArray("truncated").forEach { onGap(it.asString, since ?: 0) }
        if (snapshot["more"].asBoolean) return
        isComplete = true
        answered()
        (known.keys - inSnapshot).forEach(::lose)
    }

    private fun readEvent(event: JsonObject) {
        val kind = event.text("kind")
        val runner = event.known("runner")
        when {
            runner == null -> {}
            kind == "access" || event.text("change") == "removed" -> lose(runner.asString)
            kind == "runner" -> keep(runner.asJsonObject)
        }
        onEvent(event)
    }

    private fun refused(error: JsonObject) {
        val code = error["code"].asString
        val detail = error["detail"].asString
        when {
            code in TEMPORARY_ERRORS -> {
                isFollowing = false
                retryLater(error)
            }
            !code.startsWith("share.") ->
                onRefused(code, detail, Refused(error.text("runner") ?: error.text("race")))
            follow.runners != null || follow.races != null || follow.public != null ->
                onRefused(code, detail, Refused(follow.share))
            else -> end(code, detail)
        }
    }

    private fun keep(runner: JsonObject): String {
        val code = runner["code"].asString
        known[code] = runner
        inSnapshot += code
        return code
    }

    private fun move(code: String, position: Position) {
        if (position.t <= (newest[code] ?: 0)) return
        newest[code] = position.t
        onMoved(code, position)
    }

    private fun lose(code: String) {
        known -= code
        newest -= code
        onLost(code)
    }
}
