// One app module, once for each runtime. Which of these versions were seen to exist, and how, is in
// docs/mobile.md; none of them was built with here.
plugins {
    id("com.android.application") version "8.13.2"
    id("org.jetbrains.kotlin.android") version "2.2.20"
}

android {
    namespace = "io.github.edgeaudio"
    compileSdk = 36

    defaultConfig {
        applicationId = "io.github.edgeaudio.listener"
        minSdk = 28
        targetSdk = 35
        versionCode = 1
        versionName = "1.0"
        // ExecuTorch ships no others, and LiteRT's 32-bit libraries were not looked at.
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    flavorDimensions += "runtime"
    productFlavors {
        create("litert") { dimension = "runtime" }
        create("executorch") { dimension = "runtime" }
    }
}

kotlin {
    jvmToolchain(17)
}

dependencies {
    // The class org.tensorflow.lite.Interpreter is absent from 2.0.x and back in 2.1.
    "litertImplementation"("com.google.ai.edge.litert:litert:2.1.5")
    // The release that wrote model.pte, or a later one: an older one need not read it.
    "executorchImplementation"("org.pytorch:executorch-android:1.5.1")

    testImplementation("junit:junit:4.13.2")
    // On a phone org.json is part of Android; in unit tests android.jar has only its outline.
    testImplementation("org.json:json:20260814")
}

tasks.withType<Test>().configureEach {
    systemProperty("detector_golden", file("../detector_golden.json").path)
}
