// SPDX-License-Identifier: Apache-2.0
package io.github.edgeaudio.engine

import android.annotation.SuppressLint
import android.content.Context
import android.media.AudioFormat
import android.media.AudioManager
import android.media.AudioRecord
import android.media.MediaRecorder
import java.io.IOException
import kotlin.math.max

/**
 * The microphone to events, on the thread that calls run: an example to start from.
 *
 * The app has to hold RECORD_AUDIO by then, and in the background a foreground service of the type
 * microphone has to run: docs/mobile.md has the rules, and a service, of all Android versions.
 */
class Listener(private val context: Context, private val onEvent: (Event) -> Unit) {
    @Volatile
    private var isWanted = true

    /** Lets run return; from any thread. */
    fun stop() {
        isWanted = false
    }

    /** Listens until stop is called. Throws IOException when the microphone cannot be used. */
    fun run() {
        val image = context.assets.open("model.bin").use { it.readBytes() }
        Tagger(image).use { tagger ->
            val record = open(tagger.sampleRateHz)
            try {
                record.startRecording()
                listen(record, tagger)
            } finally {
                record.release()
            }
        }
    }

    private fun listen(record: AudioRecord, tagger: Tagger) {
        val pcm = ShortArray(tagger.stepSamples)
        while (isWanted) {
            val n = record.read(pcm, 0, pcm.size)
            if (n < 0) throw IOException("reading the microphone failed with error $n")
            tagger.push(pcm, n).forEach(onEvent)
        }
        tagger.flush().forEach(onEvent)
    }

    @SuppressLint("MissingPermission") // without it, the record is not initialised
    private fun open(sampleRateHz: Int): AudioRecord {
        val channel = AudioFormat.CHANNEL_IN_MONO
        val encoding = AudioFormat.ENCODING_PCM_16BIT
        val leastBytes = AudioRecord.getMinBufferSize(sampleRateHz, channel, encoding)
        // One second, so that nothing is lost while this thread has to wait for a CPU.
        val nBytes = max(leastBytes, sampleRateHz * Short.SIZE_BYTES)
        val record = AudioRecord(source(), sampleRateHz, channel, encoding, nBytes)
        if (record.state != AudioRecord.STATE_INITIALIZED) {
            record.release()
            throw IOException("no microphone of $sampleRateHz Hz, or no permission RECORD_AUDIO")
        }
        return record
    }

    /** Gain control and noise suppression would change the sounds that the model knows. */
    private fun source(): Int {
        val audio = context.getSystemService(AudioManager::class.java)
        val isOffered = audio.getProperty(AudioManager.PROPERTY_SUPPORT_AUDIO_SOURCE_UNPROCESSED)
        return if (isOffered.toBoolean()) {
            MediaRecorder.AudioSource.UNPROCESSED
        } else {
            MediaRecorder.AudioSource.VOICE_RECOGNITION
        }
    }
}
