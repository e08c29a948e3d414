package io.github.edgeaudio

import android.Manifest.permission.POST_NOTIFICATIONS
import android.Manifest.permission.RECORD_AUDIO
import android.app.Activity
import android.content.pm.PackageManager.PERMISSION_GRANTED
import android.os.Build
import android.os.Bundle
import android.widget.Button
import android.widget.LinearLayout
import android.widget.TextView

/** Asks for the permissions, and starts and stops the service while it is visible. */
class MainActivity : Activity() {
    private lateinit var status: TextView

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        status = TextView(this)
        val layout = LinearLayout(this).apply {
            orientation = LinearLayout.VERTICAL
            fitsSystemWindows = true
            addView(button(R.string.start) { startOrAsk() })
            addView(button(R.string.stop) { ListeningService.stop(this@MainActivity) })
            addView(status)
        }
        setContentView(layout)
    }

    override fun onRequestPermissionsResult(
        requestCode: Int,
        permissions: Array<String>,
        grantResults: IntArray,
    ) {
        super.onRequestPermissionsResult(requestCode, permissions, grantResults)
        if (mayRecord()) start() else status.setText(R.string.not_allowed)
    }

    private fun startOrAsk() {
        if (mayRecord()) start() else requestPermissions(wantedPermissions(), REQUEST_CODE)
    }

    private fun start() {
        status.text = ""
        ListeningService.start(this)
    }

    private fun mayRecord(): Boolean = checkSelfPermission(RECORD_AUDIO) == PERMISSION_GRANTED

    private fun wantedPermissions(): Array<String> =
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU) {
            arrayOf(RECORD_AUDIO, POST_NOTIFICATIONS)
        } else {
            arrayOf(RECORD_AUDIO)
        }

    private fun button(textId: Int, onClick: () -> Unit): Button = Button(this).apply {
        setText(textId)
        setOnClickListener { onClick() }
    }

    private companion object {
        const val REQUEST_CODE = 1
    }
}
