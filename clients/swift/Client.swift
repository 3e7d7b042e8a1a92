// Spectate in Swift: a sketch, not compiled. The rules are those of ../README.md.

import Foundation

struct Fix: Codable {
    let t: Int64  // ms since the epoch
    let lat: Double
    let lng: Double
    var accuracy: Double?
    var battery: Double?
}

/// A socket that reconnects. All of it runs on one queue.
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
    private var isStopped = false
    /// Until then nothing is sent: the `after` of an error (rule 5).
    private var holdUntil = DispatchTime.now()
    private var lastError = ("closed", "The server closed the connection.")
    /// The server refuses this client for good: ask for a new token, link or PIN.
    var onEnded: (_ code: String, _ detail: String) -> Void = { _, _ in }
    /// A runner, a race or fixes were refused for good.
    var onRefused: (_ code: String, _ detail: String) -> Void = { _, _ in }

    init(url: URL, token: String? = nil) {
        self.url = url
        self.token = token
    }

    /// Also when the app or the network comes back (NWPathMonitor): rule 7.
    func start() {
        queue.async {
            self.isStopped = false
            if self.socket == nil { self.connect() } else { self.say(["type": "ping"]) }
        }
    }

    /// Close the connection; do not reconnect.
    func stop() {
        queue.async {
            self.isStopped = true
            self.forget()
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

    /// Send what is to be sent on a new connection.
    func opened() {}
    /// Process a message; ignore unknown ones (rule 10).
    func heard(_ message: [String: Any]) {}
    /// A request was answered: rule 2.
    func answered() { attempts = 0 }

    var isHeld: Bool { .now() < holdUntil }

    /// Send again after the time that an error gives.
    func retryLater(_ error: [String: Any], _ work: @escaping () -> Void) {
        holdUntil = .now() + (error["after"] as? Double ?? 30_000) / 1000
        queue.asyncAfter(deadline: holdUntil, execute: work)
    }

    func end(_ code: String, _ detail: String) {
        isStopped = true
        forget()
        onEnded(code, detail)
    }

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
                case "error":
                    self.lastError = (
                        message["code"] as? String ?? "", message["detail"] as? String ?? ""
                    )
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

    private func forget() {
        silence?.cancel()
        socket?.cancel()
        socket = nil
        isWelcome = false
    }

    private func closed(_ code: Int) {
        forget()
        if Self.final.contains(code) { return end(lastError.0, lastError.1) }
        if Self.busy.contains(code) { attempts = max(attempts, 4) }
        let most = min(30, pow(2, Double(attempts)))  // Rules 1 and 6.
        let base = reconnect == nil ? max(.now(), holdUntil) : .now()
        let wait = reconnect ?? .random(in: 0...most)
        attempts += 1
        queue.asyncAfter(deadline: base + wait) { [weak self] in
            if let self, self.socket == nil, !self.isStopped { self.connect() }
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
            let code = message["code"] as? String ?? ""
            if code == "rate.limited" || code == "store.unavailable" {
                unsent = batch + unsent
                retryLater(message) { self.publish() }
            } else {
                onRefused(code, message["detail"] as? String ?? "")
            }
        default: break
        }
    }

    private func publish() {
        while isWelcome, !isHeld, !unsent.isEmpty {
            let batch = Array(unsent.prefix(200))
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
    private var inSnapshot: Set<String> = []
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
        inSnapshot = []
        var message = follow
        message["type"] = "follow"
        message["id"] = "follow"
        message["since"] = since
        say(message)
    }

    override func heard(_ message: [String: Any]) {
        let type = message["type"] as? String
        switch type {
        case "snapshot":
            for runner in message["runners"] as? [[String: Any]] ?? [] {
                guard let code = runner["code"] as? String else { continue }
                inSnapshot.insert(code)
                if let fix = runner["fix"] as? [Any] { move([code as Any] + fix) }
            }
            for code in message["truncated"] as? [String] ?? [] { onGap(code, since ?? 0) }
            if message["more"] as? Bool == false {
                isComplete = true
                answered()
                for code in newest.keys where !inSnapshot.contains(code) { lose(code) }
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
            if isLost, let code = message["runner"] as? String { lose(code) }
        case "error" where message["id"] as? String == "follow":
            let code = message["code"] as? String ?? ""
            let detail = message["detail"] as? String ?? ""
            let hasOthers = ["runners", "races", "public"].contains { follow[$0] != nil }
            if code == "store.unavailable" || code == "rate.limited" {
                retryLater(message) { self.opened() }
            } else if code.hasPrefix("share."), !hasOthers {
                end(code, detail)
            } else {
                onRefused(code, detail)
            }
        default: break
        }
        // What was missed follows the snapshot, whose own time is therefore not used.
        if isComplete, type != "snapshot", let time = message["time"] as? Int64 { since = time }
    }

    private func lose(_ code: String) {
        newest[code] = nil
        onLost(code)
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
