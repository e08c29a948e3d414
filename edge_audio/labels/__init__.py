"""Names of sounds: found as users write them, and related as the AudioSet ontology says."""
