// swift-tools-version:5.9
import PackageDescription

// TensorFlowLiteSwift is a CocoaPod and no Swift package: an app that prefers LiteRT takes the
// sources of EdgeAudio into its own target instead, where LitertStepModel is then compiled.
let package = Package(
    name: "EdgeAudio",
    platforms: [.iOS(.v17), .macOS(.v14)],
    products: [
        .library(name: "EdgeAudio", targets: ["EdgeAudio"])
    ],
    dependencies: [
        .package(url: "https://github.com/pytorch/executorch.git", branch: "swiftpm-1.5.0")
    ],
    targets: [
        .target(
            name: "EdgeAudio",
            dependencies: [
                .product(name: "executorch", package: "executorch"),
                .product(name: "backend_xnnpack", package: "executorch"),
                .product(name: "kernels_optimized", package: "executorch"),
                .product(name: "kernels_quantized", package: "executorch"),
            ],
            // Backends and kernels register themselves, which a linker takes for unused code. The
            // app's target needs the same flag: OTHER_LDFLAGS = $(inherited) -all_load
            linkerSettings: [.unsafeFlags(["-Wl,-all_load"])]
        ),
        .testTarget(name: "EdgeAudioTests", dependencies: ["EdgeAudio"]),
    ]
)
