"""People who label: the journal of their answers, what they are asked, and the page.

``events`` are the lines of the journal. ``fold`` computes the labels from them, and ``answers`` reads and writes them.
``wanted`` and ``leases`` choose what a person sees. ``page`` shows it, and ``formats`` does the same by files. Only
``oracle``, which connects a campaign to the journal, and ``taking`` use PyTorch, so that the page starts at once.
"""
