package mutant

// All are the mutants, in the order in which the design names the safeguards.
var All = []Mutant{
	{
		Name: "unstable-offsets", Without: "the offset fetch is read_committed",
		Edits: []Edit{{
			File: "sources/kafka/source.go",
			Old:  "c.Consumer.IsolationLevel = sarama.ReadCommitted // of the offset fetch, too",
			New:  "c.Consumer.IsolationLevel = sarama.ReadUncommitted",
		}},
		Scenarios: []string{"pending-offsets"},
	},
	{
		Name: "no-generation", Without: "offsets carry the member and its generation",
		Edits: []Edit{
			{
				File: "internal/send/version1.go",
				Old:  "GenerationID: c.group.Generation, MemberID: c.group.Member,",
				New:  "GenerationID: -1, MemberID: \"\",",
			},
			{
				File: "internal/send/version1.go",
				Old:  "if c.group.Instance != \"\" {",
				New:  "if false {",
			},
			{
				File: "internal/send/version2.go",
				Old:  "	p = binary.BigEndian.AppendUint32(p, uint32(c.group.Generation))\n	p = appendCompact(p, c.group.Member)\n	if c.group.Instance == \"\" {",
				New:  "	p = binary.BigEndian.AppendUint32(p, 1<<32-1)\n	p = appendCompact(p, \"\")\n	if true {",
			},
		},
		Scenarios: []string{"zombie"},
	},
	{
		// Silence is taken for consent. An EndTxn that is only not repeated does no harm: the
		// abort that follows is refused if the commit was applied, and a new session begins.
		Name: "end-not-repeated", Without: "an EndTxn that the coordinator's loss left open is repeated to a definite answer",
		Edits: []Edit{{
			File: "internal/send/calls.go",
			Old:  "if c.kind == callEnd && !m.cfg.keeps(ruleRepeatEnd) {\n\t\t\tm.endCall(c, answer{}, err)",
			New:  "if c.kind == callEnd {\n\t\t\tm.endCall(c, answer{pid: c.pid, epoch: c.epoch}, nil)",
		}},
		Scenarios: []string{"lost-end"},
	},
	{
		Name: "no-replay", Without: "an aborted transaction's input is replayed",
		Edits: []Edit{{
			File: "pipeline/claim.go",
			Old:  "	c.task.forget()\n",
			New:  "	c.task.forget()\n	if c.fresh = 0; true {\n		return nil\n	}\n",
		}},
		Scenarios: []string{"aborts"},
	},
	{
		Name: "renumbered-retry", Without: "a batch keeps its sequence when it is sent again",
		Edits: []Edit{{
			File: "internal/send/dispatch.go",
			Old:  "if !m.cfg.keeps(ruleSameNumber) {",
			New:  "if true {",
		}},
		Scenarios: []string{"cut-produce", "kill-leader"},
	},
	{
		// The broker takes batches in the order of their sequence and no others, so nothing
		// is doubled or lost. But what has been overtaken by five is refused for ever.
		Name: "retry-overtaken", Without: "a partition waits behind its failed batch",
		Edits: []Edit{
			{
				File: "internal/send/dispatch.go",
				Old:  "if pt.retry && m.cfg.keeps(ruleHeadAlone) {",
				New:  "if false {",
			},
			{
				File: "internal/send/dispatch.go",
				Old:  "	for _, b := range pt.sent {\n		if !b.flying {\n",
				New:  "	for _, b := range pt.sent {\n		if !b.flying && len(pt.queue) == 0 {\n",
			},
			{
				File: "internal/send/dispatch.go",
				Old:  "	return pt.order-pt.sent[0].order < maxInFlightIdempotent || !m.cfg.keeps(ruleSpan)",
				New:  "	return true",
			},
		},
		Scenarios: []string{"late-produce"},
	},
	{
		// In transaction version 2 it is the brokers that see to it.
		Name: "no-new-epoch", Without: "after anything ambiguous the next transaction has another epoch, in transaction version 1",
		Edits: []Edit{
			{
				File: "internal/send/transaction.go",
				Old:  "if (t.tainted || t.lost) && m.cfg.keeps(ruleRaise) {",
				New:  "if false {",
			},
			{
				File: "internal/send/transaction.go",
				Old:  "m.id.v2 = a.v2 && m.cfg.keeps(ruleEpochEach)",
				New:  "m.id.v2 = false",
			},
		},
		Scenarios: []string{"late-end", "kill-leader"},
	},
	{
		Name: "cached-positions", Without: "after an ambiguous commit the committed offsets are fetched",
		Edits: []Edit{
			{
				File: "pipeline/claim.go",
				Old:  "// String names the partition.\n",
				New:  "// Mutant is what this worker believes to be committed.\nfunc (c *Claim) Mutant() int64 { return c.committed.Load() }\n\n// String names the partition.\n",
			},
			{
				File: "sources/kafka/handler.go",
				Old:  "	c, err := h.w.Claim(part, start)\n",
				New:  "	if at, ok := mutantPositions.Load(part); ok {\n		start = at.(int64)\n	}\n	c, err := h.w.Claim(part, start)\n",
			},
			{
				File: "sources/kafka/handler.go",
				Old:  "	defer c.Release()\n",
				New:  "	defer func() {\n		c.Release()\n		mutantPositions.Store(part, c.Mutant())\n	}()\n",
			},
			{
				File: "sources/kafka/handler.go",
				Old:  "// session is sarama's session as the worker sees it.\n",
				New:  "var mutantPositions sync.Map\n\n// session is sarama's session as the worker sees it.\n",
			},
		},
		Scenarios: []string{"unknown-end"},
	},
	{
		Name: "produce-errors-ignored", Without: "a record that was not written fails its transaction",
		Edits: []Edit{
			{
				File: "internal/send/machine.go",
				Old:  "		if m.transactional() {\n			m.tx.spoil(err)\n		}\n",
				New:  "",
			},
			{
				File: "sinks/kafka/sender.go",
				Old:  "	if err == nil {\n		return\n	}\n	o.s.mu.Lock()",
				New:  "	if true {\n		return\n	}\n	o.s.mu.Lock()",
			},
		},
		Scenarios: []string{"bad-records", "kill-leader"},
	},
	{
		Name: "offsets-outside", Without: "offsets are part of the transaction",
		Edits: []Edit{{
			File: "pipeline/commit.go",
			Old:  "if err := w.tx.SendOffsets(w.hard, offsets, w.session.Group()); err != nil {",
			New:  "if err := w.session.CommitOffsets(w.hard, offsets); err != nil {",
		}},
		Scenarios: []string{"kill-worker", "aborts"},
	},
	{
		Name: "no-commit-on-revoke", Without: "what is finished is committed before a partition is given up",
		Edits: []Edit{{
			File: "pipeline/worker.go",
			Old:  "	w.settle(c)\n	w.mu.Lock()\n	if c.dirty { // a chain that is left behind has handed over since\n		w.commitLocked()\n	}\n	c.gone",
			New:  "	w.mu.Lock()\n	c.gone",
		}},
		Scenarios: []string{"scale-cooperative", "scale-eager"},
	},
	{
		Name: "revoked-kept", Without: "a revoked partition is dropped, from commits and from replay",
		Edits: []Edit{
			{
				File: "pipeline/claim.go",
				Old:  "	c.unhook()\n	c.halt()\n	if !c.waitFinished() {",
				New:  "	if true {\n		return\n	}\n	c.unhook()\n	c.halt()\n	if !c.waitFinished() {",
			},
			{
				File: "pipeline/worker.go",
				Old:  "	if w.claims[c.part] != nil {\n",
				New:  "	if old := w.claims[c.part]; old != nil && old.w == nil {\n",
			},
		},
		Scenarios: []string{"revoke-in-commit"},
	},
	{
		Name: "transaction-outlives-session", Without: "a transaction ends with its session",
		Edits: []Edit{
			{
				File: "pipeline/worker.go",
				Old:  "	w.commitLocked() // dead letters of tables may be left\n	if w.inTxn && !w.over {",
				New:  "	if false {",
			},
			{
				File: "pipeline/worker.go",
				Old:  "	w.settle(c)\n	w.mu.Lock()\n	if c.dirty { // a chain that is left behind has handed over since\n		w.commitLocked()\n	}\n	c.gone",
				New:  "	w.mu.Lock()\n	c.gone",
			},
			{
				File: "pipeline/abort.go",
				Old:  "	if w.inTxn || w.pendingSince.Load() != 0 {\n		w.ended(OutcomeUnknown, reason)\n	}\n",
				New:  "",
			},
		},
		Scenarios: []string{"scale-eager", "scale-cooperative"},
	},
	{
		Name: "state-outlives-abort", Without: "a stage's state is put back when its transaction is aborted",
		Edits: []Edit{{
			File: "pipeline/task_hooks.go",
			Old:  "	t.notify(func(h *Hooks) func() { return h.Aborted })\n",
			New:  "",
		}},
		Scenarios: []string{"aborts"},
	},
	{
		Name: "counts-outlive-abort", Without: "state that is kept in a topic is put back when its transaction is aborted",
		Edits: []Edit{{
			File: "stages/store.go",
			Old:  "	for len(k.log) > 0 {\n		was := ",
			New:  "	for false {\n		was := ",
		}},
		Scenarios: []string{"aborts"},
	},
}
