package io.github.edgeaudio

import android.annotation.SuppressLint
import android.content.Context
import android.media.AudioFormat
import android.media.AudioManager
import android.media.AudioRecord
import android.media.AudioRecordingConfiguration
import android.media.MediaRecorder
import android.os.Build
import java.io.IOException
import kotlin.math.max

/** What the microphone has to say; all but onSilenced come on the thread that called run. */
interface MicrophoneListener {
    /** The first `count` samples are new; the array is used again for the next ones. */
    fun onSamples(pcm: ShortArray, count: Int)

    /** Audio is missing here: what follows is another stream. */
    fun onGap()

    /** Whether the system delivers silence instead of sound, now that this has changed. */
    fun onSilenced(isSilenced: Boolean)
}

/** 16-bit samples of one channel, with as little of the phone's own processing as it allows. */
class Microphone(
    private val context: Context,
    private val sampleRateHz: Int,
    private val listener: MicrophoneListener,
) {
    @Volatile
    private var isWanted = true

    /** Lets run return; from any thread. */
    fun stop() {
        isWanted = false
    }

    /** Reads until stop is called. Throws IOException when the microphone cannot be used. */
    fun run() {
        var nLosses = 0
        while (isWanted && nLosses < MAX_LOSSES) {
            val hasHeard = readUntilLost()
            if (!isWanted) return
            nLosses = if (hasHeard) 1 else nLosses + 1
            listener.onGap()
            Thread.sleep(RETRY_MS)
        }
        if (isWanted) throw IOException("the microphone was lost $MAX_LOSSES times in a row")
    }

    /** Opens the microphone, and returns whether it heard anything before the system took it. */
    private fun readUntilLost(): Boolean {
        val record = open()
        val silencing = Silencing(listener)
        silencing.watch(record, context)
        try {
            record.startRecording()
            if (record.recordingState != AudioRecord.RECORDSTATE_RECORDING) {
                throw IOException("another app keeps the microphone")
            }
            return read(record)
        } finally {
            silencing.unwatch(record)
            record.release()
        }
    }

    private fun read(record: AudioRecord): Boolean {
        val pcm = ShortArray(sampleRateHz / CHUNKS_PER_S)
        var hasHeard = false
        while (isWanted) {
            val count = record.read(pcm, 0, pcm.size, AudioRecord.READ_BLOCKING)
            when {
                count > 0 -> listener.onSamples(pcm, count)
                // The audio server died, or the input was taken away: a new record may work.
                count == 0 || count == AudioRecord.ERROR_DEAD_OBJECT -> return hasHeard
                else -> throw IOException("reading the microphone failed with error $count")
            }
            hasHeard = true
        }
        return hasHeard
    }

    // The service has the permission before it runs this; without it, build throws.
    @SuppressLint("MissingPermission")
    private fun open(): AudioRecord {
        val format = AudioFormat.Builder()
            .setSampleRate(sampleRateHz)
            .setChannelMask(AudioFormat.CHANNEL_IN_MONO)
            .setEncoding(AudioFormat.ENCODING_PCM_16BIT)
            .build()
        val record = try {
            AudioRecord.Builder()
                .setAudioSource(source())
                .setAudioFormat(format)
                .setBufferSizeInBytes(bufferBytes())
                .build()
        } catch (error: UnsupportedOperationException) {
            throw IOException("this phone has no microphone of $sampleRateHz Hz", error)
        }
        if (record.state != AudioRecord.STATE_INITIALIZED) {
            record.release()
            throw IOException("the microphone cannot be opened")
        }
        return record
    }

    /** Automatic gain and noise suppression would change the sounds that the model knows. */
    private fun source(): Int {
        val audio = context.getSystemService(AudioManager::class.java)
        val isOffered = audio.getProperty(AudioManager.PROPERTY_SUPPORT_AUDIO_SOURCE_UNPROCESSED)
        return if (isOffered.toBoolean()) {
            MediaRecorder.AudioSource.UNPROCESSED
        } else {
            MediaRecorder.AudioSource.VOICE_RECOGNITION
        }
    }

    /** One second, so that nothing is lost while the reading thread has to wait for a CPU. */
    private fun bufferBytes(): Int {
        val leastBytes = AudioRecord.getMinBufferSize(
            sampleRateHz,
            AudioFormat.CHANNEL_IN_MONO,
            AudioFormat.ENCODING_PCM_16BIT,
        )
        return max(leastBytes, sampleRateHz * Short.SIZE_BYTES)
    }

    private companion object {
        const val CHUNKS_PER_S = 25
        const val MAX_LOSSES = 5
        const val RETRY_MS = 500L
    }
}

/** Notices, from Android 10 on, that the system silences a record; before, nobody can know. */
private class Silencing(private val listener: MicrophoneListener) {
    private var isSilenced = false

    private val callback = object : AudioManager.AudioRecordingCallback() {
        override fun onRecordingConfigChanged(configs: List<AudioRecordingConfiguration>) {
            if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) {
                tell(configs.any { it.isClientSilenced })
            }
        }
    }

    /** Only changes of this one record are told, on the main thread. */
    fun watch(record: AudioRecord, context: Context) {
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) {
            record.registerAudioRecordingCallback(context.mainExecutor, callback)
        }
    }

    fun unwatch(record: AudioRecord) {
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) {
            record.unregisterAudioRecordingCallback(callback)
        }
    }

    private fun tell(isNow: Boolean) {
        if (isNow == isSilenced) return
        isSilenced = isNow
        listener.onSilenced(isNow)
    }
}
