"""Chat completions and legacy completions, and the steps that responses share with them.

A request goes through `operation` (or `legacy_completions`), `request` and `messages` (parse and
check), `completion` (filter, admit, choose engines), `generation` (write choices, with the calls of
`tool_selection`), and `response` (the wire form).
"""
