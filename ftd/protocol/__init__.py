"""Messages and frames: pure codecs, no I/O. The formats are drawn in docs/PROTOCOL.md.

``frames``, ``body``, ``stages``  the data connection, byte for byte what ``ftd/dataplane/frame.h`` speaks
``handshake``                     bodies of HELLO and REFUSE
``state_blob``                    the state of one epoch
``refusal``                       why a frame is refused
``control``                       the control connection
"""
