-- name: open_conversation
WITH counted AS (
  UPDATE tenants SET conversations = conversations + 1 WHERE tenant_id = :tenant_id RETURNING tenant_id, conversations
)
INSERT INTO conversations (tenant_id, conversation, user_id)
SELECT tenant_id, conversations, :user_id FROM counted
RETURNING conversation;

-- name: lock_conversation
WITH held AS MATERIALIZED (SELECT tenant_id FROM tenants WHERE tenant_id = :tenant_id FOR KEY SHARE)
SELECT conversation FROM held JOIN conversations USING (tenant_id)
WHERE conversation = cast(:conversation AS integer) AND user_id = :user_id
FOR UPDATE OF conversations;

-- name: find_open_episode
SELECT episode_id FROM episodes
WHERE tenant_id = :tenant_id AND conversation = :conversation AND state IN ('queued', 'running');

-- name: open_episode
WITH opened AS (
  INSERT INTO episodes (tenant_id, episode_id, conversation, user_id)
  VALUES (:tenant_id, :episode_id, :conversation, :user_id)
), counted AS (
  UPDATE conversations SET messages = messages + 1
  WHERE tenant_id = :tenant_id AND conversation = :conversation
  RETURNING messages
)
INSERT INTO messages (tenant_id, conversation, ordinal, role, channel, content, episode_id)
SELECT :tenant_id, :conversation, messages, 'user', :channel, :content, :episode_id FROM counted;

-- name: insert_outbox
INSERT INTO outbox (tenant_id, subject, message_id, headers, payload)
VALUES (:tenant_id, :subject, :message_id, cast(:headers AS jsonb), cast(:payload AS jsonb))
ON CONFLICT DO NOTHING;

-- name: lock_outbox
SELECT outbox_id, subject, message_id, headers, payload FROM outbox
WHERE published_at IS NULL AND (subject = :tasks OR subject NOT LIKE 'tasks.%')
ORDER BY outbox_id
LIMIT :batch
FOR UPDATE SKIP LOCKED;

-- name: mark_published
UPDATE outbox SET published_at = now() WHERE published_at IS NULL AND outbox_id = ANY(cast(:outbox_ids AS bigint[]));

-- name: find_episode
SELECT e.episode_id, e.conversation, e.state, e.intent, e.reply, e.error
FROM episodes e
WHERE e.tenant_id = :tenant_id AND e.episode_id = :episode_id AND e.user_id = :user_id;

-- name: load_episode
-- `before` is the episode whose end was the conversation's last frame; `history` ends with the episode's own message,
-- and `steps` has those that are done.
SELECT e.tenant_id, e.episode_id, e.state, e.conversation, e.user_id, e.reply, e.last_frame, c.frames, t.seed, t.mode,
  said.channel, (
  SELECT b.episode_id FROM episodes b
  WHERE b.tenant_id = :tenant_id AND b.conversation = e.conversation AND b.last_frame = c.frames
) AS before, (
  SELECT jsonb_agg(jsonb_build_object('role', role, 'content', content) ORDER BY ordinal) FROM (
    SELECT m.ordinal, m.role, m.content FROM messages m
    WHERE m.tenant_id = :tenant_id AND m.conversation = e.conversation AND m.ordinal <= said.ordinal
    ORDER BY m.ordinal DESC
    LIMIT 20
  ) AS latest
) AS history, (
  SELECT coalesce(jsonb_object_agg(step, jsonb_build_object('calls', calls, 'output', output, 'state', s.state)), '{}')
  FROM episode_steps s
  WHERE s.tenant_id = :tenant_id AND s.episode_id = :episode_id AND done_at IS NOT NULL
) AS steps
FROM episodes e JOIN conversations c USING (tenant_id, conversation) JOIN tenants t USING (tenant_id)
JOIN messages said ON said.tenant_id = e.tenant_id AND said.episode_id = e.episode_id AND said.role = 'user'
WHERE e.tenant_id = :tenant_id AND e.episode_id = :episode_id
FOR KEY SHARE OF t;

-- name: start_episode
WITH started AS (
  UPDATE episodes SET state = 'running'
  WHERE tenant_id = :tenant_id AND episode_id = :episode_id AND state = 'queued'
)
INSERT INTO episode_steps (tenant_id, episode_id, step) VALUES (:tenant_id, :episode_id, :step)
ON CONFLICT DO NOTHING;

-- name: finish_step
-- Ends a step and starts the one that follows, if one does.
WITH held AS MATERIALIZED (SELECT tenant_id FROM tenants WHERE tenant_id = :tenant_id FOR KEY SHARE),
counted AS (
  UPDATE conversations SET frames = greatest(frames, :frames)
  FROM held
  WHERE conversations.tenant_id = held.tenant_id AND conversation = :conversation
  RETURNING held.tenant_id
), finished AS (
  UPDATE episode_steps
  SET done_at = now(), output = cast(:output AS jsonb), calls = cast(:calls AS jsonb), state = :state
  FROM counted
  WHERE episode_steps.tenant_id = counted.tenant_id AND episode_id = :episode_id AND step = :step AND done_at IS NULL
    AND EXISTS (SELECT FROM episodes
                WHERE tenant_id = :tenant_id AND episode_id = :episode_id AND state IN ('queued', 'running'))
  RETURNING episode_steps.tenant_id, episode_id
), following AS (
  INSERT INTO episode_steps (tenant_id, episode_id, step)
  SELECT tenant_id, episode_id, :following FROM finished WHERE cast(:following AS text) <> 'done'
  ON CONFLICT DO NOTHING
)
SELECT episode_id FROM finished;

-- name: finish_episode
WITH ended AS (
  UPDATE episodes SET state = 'done', intent = :intent, reply = :reply, last_frame = :frames, finished_at = now()
  WHERE tenant_id = :tenant_id AND episode_id = :episode_id AND state IN ('queued', 'running')
  RETURNING tenant_id, conversation
), counted AS (
  UPDATE conversations SET messages = messages + 1
  FROM ended
  WHERE conversations.tenant_id = ended.tenant_id AND conversations.conversation = ended.conversation
  RETURNING conversations.tenant_id, conversations.conversation, messages
), said AS (
  INSERT INTO messages (tenant_id, conversation, ordinal, role, channel, content, episode_id)
  SELECT tenant_id, conversation, messages, 'assistant', :channel, :reply, :episode_id FROM counted
)
SELECT conversation FROM ended;

-- name: count_usage
INSERT INTO usage (tenant_id, episode_id, prompt_tokens, completion_tokens)
SELECT tenant_id, episode_id, coalesce(sum(cast(output -> 'usage' ->> 'prompt_tokens' AS bigint)), 0),
       coalesce(sum(cast(output -> 'usage' ->> 'completion_tokens' AS bigint)), 0)
FROM episode_steps
WHERE tenant_id = :tenant_id AND episode_id = :episode_id
GROUP BY tenant_id, episode_id
ON CONFLICT (tenant_id, episode_id)
DO UPDATE SET prompt_tokens = excluded.prompt_tokens, completion_tokens = excluded.completion_tokens;

-- name: lock_conversation_of
WITH held AS MATERIALIZED (SELECT tenant_id FROM tenants WHERE tenant_id = :tenant_id FOR KEY SHARE)
SELECT conversation FROM held JOIN conversations USING (tenant_id)
WHERE conversation = (SELECT conversation FROM episodes WHERE tenant_id = :tenant_id AND episode_id = :episode_id)
FOR UPDATE OF conversations;

-- name: fail_episode
WITH failed AS (
  UPDATE episodes SET state = 'failed', error = :error, finished_at = now(),
    last_frame = 1 + (SELECT greatest(frames, :published) FROM conversations c
                      WHERE c.tenant_id = :tenant_id AND c.conversation = episodes.conversation)
  WHERE tenant_id = :tenant_id AND episode_id = :episode_id AND state IN ('queued', 'running')
  RETURNING conversation, last_frame
)
UPDATE conversations SET frames = failed.last_frame
FROM failed
WHERE conversations.tenant_id = :tenant_id AND conversations.conversation = failed.conversation;

-- name: reopen_episode
UPDATE episodes SET state = 'queued', error = NULL, finished_at = NULL, last_frame = NULL
WHERE tenant_id = :tenant_id AND episode_id = :episode_id AND state = 'failed';
