package io.github.edgeaudio

import android.app.Service
import android.content.Context
import android.content.Intent
import android.content.pm.ServiceInfo
import android.os.Build
import android.os.Handler
import android.os.IBinder
import android.os.Looper
import android.os.Process
import android.util.Log

/**
 * Listens while the app is in the background. It must be started while the app is visible: from
 * Android 11 on, a service that the background started hears silence, and from Android 14 on it is
 * not started at all.
 *
 * Events go to the log and into the notification; an app would send them where it needs them.
 */
class ListeningService : Service() {
    private val main = Handler(Looper.getMainLooper())
    private lateinit var notifications: ListeningNotifications
    private var listening: Listening? = null

    override fun onCreate() {
        notifications = ListeningNotifications(this)
    }

    override fun onBind(intent: Intent?): IBinder? = null

    /** Not sticky: a service that the system starts again, without the user, may not listen. */
    override fun onStartCommand(intent: Intent?, flags: Int, startId: Int): Int {
        when {
            intent?.action == ACTION_STOP -> stopSelf()
            !enterForeground() -> stopSelf()
            listening == null -> listening = Listening().apply { thread.start() }
        }
        return START_NOT_STICKY
    }

    override fun onDestroy() {
        listening?.stop()
        listening = null
    }

    /** False where Android forbids it: no permission for the microphone, or not visible. */
    private fun enterForeground(): Boolean {
        val notification = notifications.listening(getString(R.string.listening))
        try {
            if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) {
                val type = ServiceInfo.FOREGROUND_SERVICE_TYPE_MICROPHONE
                startForeground(ListeningNotifications.LISTENING_ID, notification, type)
            } else {
                startForeground(ListeningNotifications.LISTENING_ID, notification)
            }
        } catch (error: SecurityException) {
            return refuse(error)
        } catch (error: IllegalStateException) { // ForegroundServiceStartNotAllowedException
            return refuse(error)
        }
        return true
    }

    private fun refuse(error: RuntimeException): Boolean {
        Log.e(TAG, "may not listen", error)
        notifications.showFailure(error)
        return false
    }

    /** One run of the reading thread, from the opening of the model to its end. */
    private inner class Listening : MicrophoneListener {
        val thread = Thread(::listen, "listening")

        @Volatile
        private var microphone: Microphone? = null

        @Volatile
        private var isWanted = true
        private lateinit var tagger: Tagger

        fun stop() {
            isWanted = false
            microphone?.stop()
        }

        override fun onSamples(pcm: ShortArray, count: Int) = report(tagger.push(pcm, count))

        override fun onGap() = report(tagger.flush())

        override fun onSilenced(isSilenced: Boolean) {
            notifications.show(getString(if (isSilenced) R.string.silenced else R.string.listening))
        }

        private fun listen() {
            Process.setThreadPriority(Process.THREAD_PRIORITY_AUDIO)
            try {
                openAndRun()
            } catch (error: Exception) {
                Log.e(TAG, "cannot listen", error)
                main.post { notifications.showFailure(error) }
            }
            main.post { if (listening === this) stopSelf() }
        }

        private fun openAndRun() {
            val bundle = BundleFiles(assets, BUNDLE_FOLDER)
            val file = bundle.install(MODEL_FILE_NAME, noBackupFilesDir)
            openStepModel(bundle.manifest.model, file).use { model ->
                tagger = Tagger(bundle.manifest, model, bundle.relatedLabels)
                val sampleRateHz = bundle.manifest.model.frontend.sampleRateHz
                val opened = Microphone(this@ListeningService, sampleRateHz, this)
                microphone = opened
                if (isWanted) opened.run() // stop may have come before there was a microphone
                report(tagger.flush())
            }
        }

        private fun report(events: List<Event>) {
            for (event in events) {
                val text = "%.2f s  %s  %s".format(event.timeS, event.kind, event.label)
                Log.i(TAG, text)
                main.post { if (listening === this) notifications.show(text) }
            }
        }
    }

    companion object {
        private const val TAG = "EdgeAudio"
        private const val BUNDLE_FOLDER = "bundle"
        const val ACTION_STOP = "io.github.edgeaudio.STOP"

        /** To be called while an activity is visible. */
        fun start(context: Context) {
            context.startForegroundService(Intent(context, ListeningService::class.java))
        }

        fun stop(context: Context) {
            context.stopService(Intent(context, ListeningService::class.java))
        }
    }
}
