"""New labels from a few recordings, on the device: takes, features, classifier, threshold."""
