"""Pictures and videos of what a model sees and says."""
