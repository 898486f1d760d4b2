"""Text and tokens: engines, replicas and the pool. Knows nothing of refusal or of evolution."""
