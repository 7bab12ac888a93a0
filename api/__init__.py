"""HTTP: routes, schemas, errors and limits. Nothing here decides what is remembered."""
