#if os(iOS)
import AVFAudio
import Foundation
import UIKit

/// Microphone -> events, in the background too if the app has the background mode "audio" and
/// listening began while it was in the foreground.
///
/// start and stop belong to the main thread; what was heard is reported on it as well.
public final class MicrophoneListener {
    public var onEvents: ([Event]) -> Void = { _ in }

    /// Listening has stopped, and goes on by itself when the system allows it again.
    public var onPause: (Error?) -> Void = { _ in }

    private static let tapS = 0.08

    private let tagger: Tagger
    private let format: AVAudioFormat
    private let queue = DispatchQueue(label: "edge-audio.listening", qos: .userInitiated)
    private var engine = AVAudioEngine()
    private var observers: [NSObjectProtocol] = []
    private var isWanted = false

    public init(
        manifest: Manifest,
        model: StepModel,
        relatedLabels: RelatedLabels,
        related: Related = .mostSpecific
    ) throws {
        let rateHz = Double(manifest.model.frontend.sampleRateHz)
        guard let format = AVAudioFormat(standardFormatWithSampleRate: rateHz, channels: 1) else {
            throw BundleError("no audio format of \(rateHz) Hz")
        }
        self.format = format
        tagger = Tagger(
            manifest: manifest, model: model, relatedLabels: relatedLabels, related: related
        )
    }

    deinit {
        observers.forEach { NotificationCenter.default.removeObserver($0) }
    }

    /// To be called in the foreground: iOS starts no microphone from the background.
    @MainActor
    public func start() async throws {
        guard await AVAudioApplication.requestRecordPermission() else {
            throw BundleError("the microphone may not be used: allow it in Settings")
        }
        if isWanted { close() }
        isWanted = true
        if observers.isEmpty { observe() }
        try open()
    }

    public func stop() {
        isWanted = false
        close()
        try? AVAudioSession.sharedInstance().setActive(
            false, options: .notifyOthersOnDeactivation
        )
    }

    /// The session mixes with others: it does not stop their music, and may be activated again
    /// in the background after a call. Measurement is the mode with the least processing.
    private func open() throws {
        let session = AVAudioSession.sharedInstance()
        try session.setCategory(
            .playAndRecord,
            mode: .measurement,
            options: [.mixWithOthers, .defaultToSpeaker, .allowBluetoothA2DP]
        )
        try session.setActive(true)
        let input = engine.inputNode
        let heard = input.outputFormat(forBus: 0)
        guard heard.sampleRate > 0, let converter = AVAudioConverter(from: heard, to: format) else {
            throw BundleError("there is no microphone")
        }
        converter.downmix = true
        let frameCount = AVAudioFrameCount(heard.sampleRate * Self.tapS)
        input.installTap(onBus: 0, bufferSize: frameCount, format: heard) { [weak self] buffer, _ in
            guard let self else { return }
            // Waiting keeps the buffer valid; the tap's own thread is not the real-time one.
            self.queue.sync { self.hear(buffer, through: converter) }
        }
        engine.prepare()
        try engine.start()
    }

    private func close() {
        engine.inputNode.removeTap(onBus: 0)
        engine.stop()
        queue.sync { report { try tagger.flush() } }
    }

    /// After whatever stopped or changed the input: the stream is another one from here on.
    private func reopen() {
        guard isWanted else { return }
        close()
        do {
            try open()
        } catch {
            close()
            onPause(error)
        }
    }

    private func hear(_ buffer: AVAudioPCMBuffer, through converter: AVAudioConverter) {
        guard let samples = convert(buffer, through: converter),
            let channel = samples.floatChannelData?[0]
        else { return }
        let heard = UnsafeBufferPointer(start: channel, count: Int(samples.frameLength))
        report { try tagger.push(heard) }
    }

    private func convert(
        _ buffer: AVAudioPCMBuffer, through converter: AVAudioConverter
    ) -> AVAudioPCMBuffer? {
        let ratio = format.sampleRate / buffer.format.sampleRate
        let capacity = AVAudioFrameCount(Double(buffer.frameLength) * ratio) + 64
        guard let result = AVAudioPCMBuffer(pcmFormat: format, frameCapacity: capacity) else {
            return nil
        }
        var isTaken = false
        var failure: NSError?
        // "No data now", not the end: the converter keeps what its filter needs for the next call.
        let status = converter.convert(to: result, error: &failure) { _, inputStatus in
            inputStatus.pointee = isTaken ? .noDataNow : .haveData
            defer { isTaken = true }
            return isTaken ? nil : buffer
        }
        return status == .error ? nil : result
    }

    private func report(_ listen: () throws -> [Event]) {
        do {
            let events = try listen()
            guard !events.isEmpty else { return }
            DispatchQueue.main.async { self.onEvents(events) }
        } catch {
            DispatchQueue.main.async { self.onPause(error) }
        }
    }

    private func observe() {
        observe(AVAudioSession.interruptionNotification) { [weak self] in
            self?.interrupted($0)
        }
        // Another microphone, or another rate: the engine has stopped, and its format is stale.
        observe(.AVAudioEngineConfigurationChange) { [weak self] notification in
            guard let self, notification.object as? AVAudioEngine === self.engine else { return }
            self.reopen()
        }
        observe(AVAudioSession.routeChangeNotification) { [weak self] in
            self?.routeChanged($0)
        }
        observe(AVAudioSession.mediaServicesWereResetNotification) { [weak self] _ in
            self?.engine = AVAudioEngine()
            self?.reopen()
        }
        // What could not be resumed in the background is resumed as soon as the app is seen again.
        observe(UIApplication.didBecomeActiveNotification) { [weak self] _ in
            guard let self, !self.engine.isRunning else { return }
            self.reopen()
        }
    }

    private func observe(_ name: Notification.Name, _ act: @escaping (Notification) -> Void) {
        observers.append(
            NotificationCenter.default.addObserver(
                forName: name, object: nil, queue: .main, using: act
            )
        )
    }

    /// A device that came or went may have stopped the engine; if not, it goes on as it is. Other
    /// reasons, among them our own change of category, are not to be answered.
    private func routeChanged(_ notification: Notification) {
        let raw = notification.userInfo?[AVAudioSessionRouteChangeReasonKey] as? UInt
        switch raw.flatMap(AVAudioSession.RouteChangeReason.init(rawValue:)) {
        case .newDeviceAvailable, .oldDeviceUnavailable:
            if !engine.isRunning { reopen() }
        default:
            break
        }
    }

    /// A call, an alarm, Siri: iOS has stopped the engine, and says when it is over, if ever.
    private func interrupted(_ notification: Notification) {
        let raw = notification.userInfo?[AVAudioSessionInterruptionTypeKey] as? UInt
        switch raw.flatMap(AVAudioSession.InterruptionType.init(rawValue:)) {
        case .began:
            guard isWanted else { return }
            close()
            onPause(nil)
        case .ended:
            reopen()
        default:
            break
        }
    }
}
#endif
