"""The web page of evocliff: runs, prompts and what is behind them, read from a database. An edge.

Server-rendered with real addresses; reads only, and through read-only connections.
"""
