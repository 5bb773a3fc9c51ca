"""Protection that an operator has asked for once, and that comes back by itself.

``wishes``   which VMs are to be protected; survives restarts of ftd and its host
``pursuit``  when to try, with which host, what is being waited for; pure
``stale``    what becomes of a copy that a host still has when it is asked for a standby; pure
``keeper``   looks at the VMs that run here, and tries
"""
