// Spectate in Swift: a sketch, not compiled. The rules are those of README.md.

import Foundation

struct Fix: Codable {
    let t: Int64  // ms since the epoch
    let lat: Double
    let lng: Double
    var accuracy: Double?
    var battery: Double?
}

/// A socket that comes back by itself. All of it on one queue.
class Client: NSObject, URLSessionWebSocketDelegate {
    // Rules 4 and 5.
    static let final: Set<Int> = [4400, 4401, 4403]
    static let busy: Set<Int> = [1013, 4413, 4429]

    let queue = DispatchQueue(label: "spectate")
    private let url: URL
    private let token: String?
    private lazy var session = URLSession(
        configuration: .default, delegate: self, delegateQueue: nil)
    private var socket: URLSessionWebSocketTask?
    private var attempts = 0
    private var reconnect: TimeInterval?
    private var heartbeat: TimeInterval = 20
    private var silence: DispatchWorkItem?
    /// This connection's `welcome` has come; a task queues what is sent before it opens.
    private(set) var isWelcome = false
    /// The server does not want this client as it is: ask for another token or link.
    var onEnded: (Int) -> Void = { _ in }

    init(url: URL, token: String? = nil) {
        self.url = url
        self.token = token
    }

    /// Also when the app or the network comes back (NWPathMonitor): rule 7.
    func start() {
        queue.async {
            if self.socket == nil { self.connect() } else { self.say(["type": "ping"]) }
        }
    }

    private func connect() {
        var request = URLRequest(url: url)
        request.setValue("spectate.v1", forHTTPHeaderField: "Sec-WebSocket-Protocol")
        if let token { request.setValue("Bearer \(token)", forHTTPHeaderField: "Authorization") }
        let task = session.webSocketTask(with: request)
        // A snapshot comes in parts of up to 256 KiB, and then some.
        task.maximumMessageSize = 4 << 20
        socket = task
        reconnect = nil
        task.resume()
        expectFrame()
        receive(from: task)
    }

    func say(_ message: [String: Any]) {
        let data = try! JSONSerialization.data(withJSONObject: message)
        socket?.send(.string(String(decoding: data, as: UTF8.self))) { _ in }
    }

    /// Say what there is to say on a new connection.
    func opened() {}
    /// Take a message; unknown ones are passed over (rule 10).
    func heard(_ message: [String: Any]) {}
    /// What was asked for was answered: rule 2.
    func answered() { attempts = 0 }

    private func receive(from task: URLSessionWebSocketTask) {
        task.receive { [weak self] result in
            guard let self else { return }
            self.queue.async {
                guard task === self.socket else { return }
                guard case .success(.string(let text)) = result,
                    let message = try? JSONSerialization.jsonObject(with: Data(text.utf8))
                        as? [String: Any]
                else {
                    // 403 is a refused handshake: as final as rule 4.
                    let status = (task.response as? HTTPURLResponse)?.statusCode
                    return self.closed(status == 403 ? 4403 : task.closeCode.rawValue)
                }
                self.expectFrame()
                switch message["type"] as? String {
                case "welcome":
                    self.heartbeat = message["heartbeat"] as? TimeInterval ?? 20
                    self.isWelcome = true
                    if message["id"] == nil { self.opened() }
                case "reconnect":  // Rule 3.
                    self.reconnect = (message["after"] as? Double ?? 0) / 1000
                default: break
                }
                self.heard(message)
                self.receive(from: task)
            }
        }
    }

    private func expectFrame() {  // Rule 7.
        silence?.cancel()
        let lost = DispatchWorkItem { [weak self] in self?.closed(1006) }
        silence = lost
        queue.asyncAfter(deadline: .now() + 2.5 * heartbeat, execute: lost)
    }

    private func closed(_ code: Int) {
        silence?.cancel()
        socket?.cancel()
        socket = nil
        isWelcome = false
        if Self.final.contains(code) { return onEnded(code) }
        if Self.busy.contains(code) { attempts = max(attempts, 4) }
        let most = min(30, pow(2, Double(attempts)))  // Rules 1 and 6.
        let wait = reconnect ?? .random(in: 0...most)
        attempts += 1
        queue.asyncAfter(deadline: .now() + wait) { [weak self] in
            if let self, self.socket == nil { self.connect() }
        }
    }
}

/// A runner's phone: keeps each fix until it is acked (rule 8).
final class Publisher: Client {
    private var unsent: [Fix] = []  // On disk, if they matter.
    private var sent: [Int: [Fix]] = [:]
    private var nextId = 1
    private var runner: String?

    func add(_ fix: Fix) {
        queue.async {
            self.unsent.append(fix)
            self.publish()
        }
    }

    override func opened() {
        unsent = sent.sorted { $0.key < $1.key }.flatMap(\.value) + unsent
        sent = [:]
    }

    override func heard(_ message: [String: Any]) {
        let id = message["id"] as? Int ?? 0
        switch message["type"] as? String {
        case "welcome":
            let now = message["runner"] as? String
            // The phone was given to another runner: these are not theirs.
            if let runner, runner != now { unsent = [] }
            runner = now
            publish()
        case "ack":  // `rejected` would be refused again.
            sent[id] = nil
            answered()
        case "error":
            guard let batch = sent.removeValue(forKey: id) else { return }
            let code = message["code"] as? String
            if code == "rate.limited" || code == "store.unavailable" {
                unsent = batch + unsent
                let after = (message["after"] as? Double ?? 2000) / 1000
                queue.asyncAfter(deadline: .now() + after) { self.publish() }
            }
        default: break
        }
    }

    private func publish() {
        while isWelcome, !unsent.isEmpty {
            let batch = Array(unsent.prefix(500))
            unsent.removeFirst(batch.count)
            sent[nextId] = batch
            let fixes = batch.map { ["t": $0.t, "lat": $0.lat, "lng": $0.lng] as [String: Any] }
            say(["type": "publish", "id": nextId, "fixes": fixes])
            nextId += 1
        }
    }
}

/// Follows; misses nothing that was stored while it was away (rule 9).
final class Spectator: Client {
    private let follow: [String: Any]
    private var since: Int64?
    private var isComplete = false
    private var newest: [String: Int64] = [:]
    var onMoved: (String, Int64, Double, Double) -> Void = { _, _, _, _ in }
    var onPassed: (String, Int64, Double, Double) -> Void = { _, _, _, _ in }
    var onLost: (String) -> Void = { _ in }
    /// Fetch /runners/CODE/track.json?since= until it succeeds.
    var onGap: (String, Int64) -> Void = { _, _ in }

    init(url: URL, follow: [String: Any]) {
        self.follow = follow
        super.init(url: url)
    }

    override func opened() {
        isComplete = false
        var message = follow
        message["type"] = "follow"
        message["since"] = since
        say(message)
    }

    override func heard(_ message: [String: Any]) {
        let type = message["type"] as? String
        switch type {
        case "snapshot":
            for runner in message["runners"] as? [[String: Any]] ?? [] {
                if let code = runner["code"], let fix = runner["fix"] as? [Any] {
                    move([code] + fix)
                }
            }
            for code in message["truncated"] as? [String] ?? [] { onGap(code, since ?? 0) }
            if message["more"] as? Bool == false {
                isComplete = true
                answered()
            }
        case "positions":
            for row in message["fixes"] as? [[Any]] ?? [] { move(row) }
        case "late":
            guard let code = message["runner"] as? String else { return }
            for row in message["fixes"] as? [[NSNumber]] ?? [] {
                onPassed(code, row[0].int64Value, row[1].doubleValue, row[2].doubleValue)
            }
        case "event":
            let isLost =
                message["kind"] as? String == "access"
                || message["change"] as? String == "removed"
            if isLost, let code = message["runner"] as? String { onLost(code) }
        case "error" where message["code"] as? String == "store.unavailable":
            let after = (message["after"] as? Double ?? 2000) / 1000
            queue.asyncAfter(deadline: .now() + after) { self.opened() }
        default: break
        }
        // Not the snapshot's own time: what was missed comes right behind it.
        if isComplete, type != "snapshot", let time = message["time"] as? Int64 { since = time }
    }

    private func move(_ row: [Any]) {
        guard let code = row[0] as? String, let t = row[1] as? Int64,
            let lat = row[2] as? Double, let lng = row[3] as? Double,
            t > newest[code] ?? 0
        else { return }
        newest[code] = t
        onMoved(code, t, lat, lng)
    }
}
