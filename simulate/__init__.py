"""The witness network in virtual time: logs, witnesses, monitors and clients, honest and lying, on a bad network.

The parties are the library's own objects; only time, the network and the trees of entries are simulated. A seed gives
the whole run. `python -m simulate` runs many, docs/witness-network.md says what is checked.
"""
