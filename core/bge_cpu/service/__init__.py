"""The resident service: a loaded reranker behind HTTP. What belongs to HTTP is a library's; ours is the queue.

A request passes through the modules in this order: `guard` (key, body, log), `bodies` (what it asks), `work` (queue,
deadline, the reranker), `answers` (the client's shape). `server` starts the processes, `resident` is what each runs.
"""
