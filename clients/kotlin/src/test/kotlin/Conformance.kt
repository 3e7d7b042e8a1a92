// The Kotlin package as a program of the suite (clients/conformance/program.py describes it).

import com.google.gson.Gson
import com.google.gson.JsonObject
import com.google.gson.JsonParser
import kotlin.system.exitProcess
import spectate.Connection
import spectate.Fix
import spectate.Follow
import spectate.Options
import spectate.Publisher
import spectate.Refused
import spectate.Spectator

private val gson = Gson()

private fun fixes(command: JsonObject) =
    command.getAsJsonArray("fixes").map { gson.fromJson(it, Fix::class.java) }

private class Client(private val name: String) {
    private val waits = linkedSetOf<() -> Unit>()
    private lateinit var client: Connection
    private val options = Options(schedule = ::schedule, random = { 0.5 })

    fun run(command: JsonObject) {
        when (command["do"].asString) {
            "publish" -> publish(command)
            "follow" -> follow(command)
            "add" -> report("added", fixes(command).count { publisher.add(it) })
            "flush" -> publisher.flush().thenRun { report("flushed") }
            "stop" -> {
                client.stop()
                report("stopped", (client as? Publisher)?.pending.orEmpty())
            }
            "elapse" -> elapse()
        }
    }

    private val publisher get() = client as Publisher

    private fun publish(command: JsonObject) {
        val url = command["url"].asString
        val capacity = command["capacity"].asInt
        val publisher = Publisher(url, command["token"].asString, capacity, options)
        publisher.onRunner = { report("runner", it) }
        start(publisher)
    }

    private fun follow(command: JsonObject) {
        val follow = gson.fromJson(command["follow"], Follow::class.java)
        val spectator = Spectator(command["url"].asString, follow, options)
        spectator.onMoved = { code, position -> report("moved", code, position) }
        spectator.onPassed = { code, position -> report("passed", code, position) }
        spectator.onLost = { report("lost", it) }
        spectator.onGap = { code, since -> report("gap", code, since) }
        spectator.onEvent = { report("event", it) }
        start(spectator)
    }

    private fun start(client: Connection) {
        this.client = client
        client.onEnded = { code, detail -> report("ended", code, detail) }
        client.onRefused = { code, detail, refused ->
            report("refused", code, detail, subjectOf(refused))
        }
        client.start()
    }

    private fun subjectOf(refused: Refused): Any = refused.subject ?: refused.fixes

    private fun schedule(delay: Long, task: () -> Unit): () -> Unit {
        synchronized(waits) { waits += task }
        report("wait", delay)
        return { synchronized(waits) { waits -= task } }
    }

    private fun elapse() {
        val tasks = synchronized(waits) { waits.toList().also { waits.clear() } }
        tasks.forEach { it() }
    }

    private fun report(event: String, vararg args: Any) {
        val line = gson.toJson(mapOf("client" to name, "event" to event, "args" to args))
        synchronized(System.out) { println(line) }
    }
}

fun main() {
    val clients = mutableMapOf<String, Client>()
    generateSequence(::readlnOrNull).forEach { line ->
        val command = JsonParser.parseString(line).asJsonObject
        val name = command["client"].asString
        clients.getOrPut(name) { Client(name) }.run(command)
    }
    exitProcess(0)
}
