# ---- What is refused without a rule ----------------------------------------------------------------------------------

# These stand here for whoever reads the rules. A request without a rule, or for which none has a value, is refused all
# the same, and so this part does not travel with the pods.

# Decided by the rules above.
default CopyFileRequest := false
default CreateContainerRequest := false
default CreateSandboxRequest := false
default ExecProcessRequest := false
default ReadStreamRequest := false
default RemoveContainerRequest := false
default SignalProcessRequest := false
default StartContainerRequest := false
default AddARPNeighborsRequest := false
default UpdateEphemeralMountsRequest := false
default UpdateInterfaceRequest := false
default UpdateRoutesRequest := false

# Never allowed.
default AddSwapPathRequest := false
default AddSwapRequest := false
default CloseStdinRequest := false
default GetDiagnosticDataRequest := false
default GetIPTablesRequest := false
default GetMetricsRequest := false
default ListInterfacesRequest := false
default ListRoutesRequest := false
default MemAgentCompactConfig := false
default MemAgentMemcgConfig := false
default MemHotplugByProbeRequest := false
default PauseContainerRequest := false
default PullImageRequest := false
default ReseedRandomDevRequest := false
default ResizeVolumeRequest := false
default ResumeContainerRequest := false
default SetGuestDateTimeRequest := false
default SetIPTablesRequest := false
default SetPolicyRequest := false
default StartTracingRequest := false
default StopTracingRequest := false
default TtyWinResizeRequest := false
default UpdateContainerRequest := false
default VolumeStatsRequest := false
default WriteStreamRequest := false
