package io.github.edgeaudio

import android.app.Notification
import android.app.NotificationChannel
import android.app.NotificationManager
import android.app.PendingIntent
import android.content.Context
import android.content.Intent
import android.os.Build

/** What the user sees of a service that listens in the background, with a button that ends it. */
class ListeningNotifications(private val context: Context) {
    private val manager = context.getSystemService(NotificationManager::class.java)

    init {
        val name = context.getString(R.string.channel_name)
        val importance = NotificationManager.IMPORTANCE_LOW // shown, but without a sound
        manager.createNotificationChannel(NotificationChannel(CHANNEL_ID, name, importance))
    }

    fun listening(text: String): Notification {
        val stop = Notification.Action.Builder(null, context.getString(R.string.stop), stopIntent())
        val builder = builder(text).setOngoing(true).addAction(stop.build())
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.S) { // or it may be held back for 10 s
            builder.setForegroundServiceBehavior(Notification.FOREGROUND_SERVICE_IMMEDIATE)
        }
        return builder.build()
    }

    /** Replaces the text while the service listens. */
    fun show(text: String) {
        manager.notify(LISTENING_ID, listening(text))
    }

    /** Stays when the service, and its own notification, are gone. */
    fun showFailure(error: Exception) {
        val text = context.getString(R.string.failed, error.message ?: error.toString())
        manager.notify(FAILURE_ID, builder(text).setAutoCancel(true).build())
    }

    private fun builder(text: String): Notification.Builder =
        Notification.Builder(context, CHANNEL_ID)
            .setSmallIcon(android.R.drawable.ic_btn_speak_now)
            .setContentTitle(context.getString(R.string.app_name))
            .setContentText(text)
            .setContentIntent(openIntent())

    private fun openIntent(): PendingIntent {
        val intent = Intent(context, MainActivity::class.java)
        return PendingIntent.getActivity(context, 0, intent, PendingIntent.FLAG_IMMUTABLE)
    }

    private fun stopIntent(): PendingIntent {
        val intent = Intent(context, ListeningService::class.java)
            .setAction(ListeningService.ACTION_STOP)
        return PendingIntent.getService(context, 0, intent, PendingIntent.FLAG_IMMUTABLE)
    }

    companion object {
        const val LISTENING_ID = 1
        private const val FAILURE_ID = 2
        private const val CHANNEL_ID = "listening"
    }
}
