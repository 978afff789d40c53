"""The server of tlog: a Flask application over one ledger, and the program that runs it.

It keeps no state of its own. A handler parses what was asked, calls one function of the library, and renders the
answer.
"""
