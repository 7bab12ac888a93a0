"""One file a resource; `api.app` puts them together."""
