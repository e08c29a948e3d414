"""Self-supervised pretraining: an encoder that learns from sound without labels."""
