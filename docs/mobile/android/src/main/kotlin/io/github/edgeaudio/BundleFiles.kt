package io.github.edgeaudio

import android.content.res.AssetManager
import java.io.File
import java.security.MessageDigest

/**
 * A bundle folder among the app's assets. Assets have no path, which ExecuTorch needs, so that the
 * model file is copied out once, and again after an update of the app.
 */
class BundleFiles(private val assets: AssetManager, private val folder: String) {
    val manifest: Manifest = Manifest.parse(read(Manifest.FILE_NAME).decodeToString())

    /** None in bundles that are older than the file. */
    val relatedLabels: RelatedLabels = RelatedLabels.FILE_NAME.let { name ->
        if (name !in manifest.files) RelatedLabels.NONE
        else RelatedLabels.parse(readChecked(name).decodeToString())
    }

    /** The model file below `target`, with the size and SHA-256 of the manifest. */
    fun install(fileName: String, target: File): File {
        val entry = entry(fileName)
        val file = File(target, "${entry.sha256}-$fileName")
        if (file.isFile && file.readBytes().fits(entry)) return file
        writeWhole(file, readChecked(fileName))
        return file
    }

    private fun entry(fileName: String): FileEntry = manifest.files[fileName]
        ?: throw BundleException("the bundle has no $fileName: export it with that part")

    private fun readChecked(fileName: String): ByteArray {
        val content = read(fileName)
        if (!content.fits(entry(fileName))) {
            throw BundleException("$fileName was altered: restore the original bundle")
        }
        return content
    }

    private fun read(fileName: String): ByteArray =
        assets.open("$folder/$fileName").use { it.readBytes() }

    private fun ByteArray.fits(entry: FileEntry): Boolean =
        size.toLong() == entry.nBytes && sha256(this) == entry.sha256

    private fun sha256(content: ByteArray): String =
        MessageDigest.getInstance("SHA-256").digest(content).joinToString("") { "%02x".format(it) }

    /** Under another name first: a process that dies half-way leaves no half file behind. */
    private fun writeWhole(file: File, content: ByteArray) {
        val part = File(file.path + ".part")
        part.writeBytes(content)
        if (!part.renameTo(file)) throw BundleException("cannot write $file: free some space")
    }
}
