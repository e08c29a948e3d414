"""edge-audio: on-device streaming audio tagging."""
