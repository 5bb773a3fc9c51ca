"""The process that holds one VM and decides for it (`python -m ftd.worker`).

``__main__``   reads the spec, reports readiness
``service``    the control socket: operators' requests in, answers out
``runner``     one loop that feeds a decision core and carries its actions out
``active``     what the actions of the active side mean here
``standby``    what those of the standby side mean
``pair``       connects the data pair and shakes hands
``claims``     asks the arbiter
``wakefulness``  keeps processors awake while the VM is protected
``console``    the console's listening socket
``status``     the worker's answer to `status`
``faults``     points at which tests kill this process
"""
