"""The appliance: serves the bytes of packages from its disk, and fills what it lacks.

One parent (`app`) binds the data port and keeps its children alive: N workers (`server`), which
parse, decide (`gate`) and send, and one keeper (`keeper`), which alone writes: fills (`fill`),
the index and evictions (`cache`), the plan (`plan`), reports (`report`). Workers and keeper
share the file system, a small mapped `board` and one Unix socket (`link`).
"""
