"""Fine-tuning with transformers."""
