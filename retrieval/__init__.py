"""Which memories matter now? Text analysis, encoders, indexes, fusion and reranking; all of it behind `ports`."""
