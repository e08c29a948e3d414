"""What a bundle says of itself: card, quoted figures, thresholds."""
