"""What each role may send."""

from __future__ import annotations

from nbdist.wire import messages as m
from nbdist.wire.messages import Message

ALLOWED: dict[m.Role, frozenset[type[Message]]] = {
    "notebook": frozenset(
        {m.ProveLocal, m.SubmitJob, m.AddItems, m.CloseItems, m.CancelJob, m.TakeResults, m.AttachJob, m.ForgetJob}
        | {m.PortableTask}
        | {
            m.BlobPlaced,
            m.DescribePool,
            m.DescribeJob,
            m.FindJob,
            m.ReadResults,
            m.ExplainItem,
            m.StopWorkers,
            m.MakeInvite,
            m.CloseInvites,
            m.ClearPool,
        }
    ),
    "worker": frozenset(
        {m.ProveLocal, m.BlobPlaced, m.WorkerFacts, m.Heartbeat, m.JobReady, m.JobRefused, m.Part, m.SliceCut}
        | {m.SetupBegun, m.SliceBegun, m.SliceEnded, m.SlotCrashed, m.Leaving, m.Output}
    ),
    "viewer": frozenset({m.DescribePool, m.ExplainItem}),
}
"""What each role may send after its `Hello`."""
