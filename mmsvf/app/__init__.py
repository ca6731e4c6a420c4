"""The demo page: a trained model's predictions, spikes, attention and energy, in a browser on this machine."""
