-- Upgrades version 1 to version 2: owners of actions, actions that end agents, the schedulers' key.
ALTER TABLE actions ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE actions ADD COLUMN endsagents INTEGER NOT NULL DEFAULT 0;
UPDATE actions SET endsagents = 1 WHERE EXISTS (
    SELECT 1 FROM json_each(actions.operations) AS operation
    WHERE operation.value ->> '$.module' IN ('upgrade', 'agentdestroy'));
CREATE INDEX actions_ending ON actions (finishtime) WHERE endsagents = 1;
CREATE INDEX commands_queueloc ON commands (queueloc);
CREATE UNIQUE INDEX investigators_scheduler ON investigators (name) WHERE privatekey IS NOT NULL;
