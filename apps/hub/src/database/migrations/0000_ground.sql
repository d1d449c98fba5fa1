CREATE TABLE "agents" (
	"agent_id" text PRIMARY KEY NOT NULL,
	"instance" text NOT NULL,
	"revision" bigint,
	"snapshot" jsonb,
	"as_of" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "audit" (
	"sequence" bigint PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"subject" text NOT NULL,
	"record" text NOT NULL,
	"hash" "bytea" NOT NULL
);
--> statement-breakpoint
CREATE TABLE "commands" (
	"id" text PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"instance" text NOT NULL,
	"agent_id" text NOT NULL,
	"state" text NOT NULL,
	"envelope" "bytea" NOT NULL,
	"digest" "bytea" NOT NULL,
	"refusal_code" text,
	"refusal_sentence" text,
	"created_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"delivered_at" timestamp with time zone,
	"settled_at" timestamp with time zone,
	CONSTRAINT "commands_digest_unique" UNIQUE("digest")
);
--> statement-breakpoint
CREATE TABLE "connections" (
	"id" text PRIMARY KEY NOT NULL,
	"instance_id" text NOT NULL,
	"display_name" text NOT NULL,
	"state" text NOT NULL,
	"identity_key_id" text NOT NULL,
	"reaper_key_id" text NOT NULL,
	"capabilities" text[] NOT NULL,
	"enrollment" "bytea" NOT NULL,
	"session_epoch" bigint DEFAULT 0 NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"changed_at" timestamp with time zone NOT NULL,
	"last_seen_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "enrollment_tokens" (
	"id" text PRIMARY KEY NOT NULL,
	"secret_digest" "bytea" NOT NULL,
	"auto_approve" boolean NOT NULL,
	"display_name" text,
	"created_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"redeemed_at" timestamp with time zone,
	"enrollment_digest" "bytea",
	"connection_id" text,
	CONSTRAINT "enrollment_tokens_secret_digest_unique" UNIQUE("secret_digest")
);
--> statement-breakpoint
CREATE TABLE "keys" (
	"key_id" text PRIMARY KEY NOT NULL,
	"owner" text NOT NULL,
	"public_key" "bytea" NOT NULL,
	"purposes" text[] NOT NULL,
	"epoch" integer NOT NULL,
	"revoked_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "receipts" (
	"sequence" bigserial PRIMARY KEY NOT NULL,
	"digest" "bytea" NOT NULL,
	"command_id" text NOT NULL,
	"instance" text NOT NULL,
	"agent_id" text NOT NULL,
	"kind" text NOT NULL,
	"envelope" "bytea" NOT NULL,
	"received_at" timestamp with time zone NOT NULL,
	CONSTRAINT "receipts_digest_unique" UNIQUE("digest")
);
--> statement-breakpoint
CREATE TABLE "tokens" (
	"name" text PRIMARY KEY NOT NULL,
	"digest" "bytea" NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "tokens_digest_unique" UNIQUE("digest")
);
--> statement-breakpoint
ALTER TABLE "connections" ADD CONSTRAINT "connections_identity_key_id_keys_key_id_fk" FOREIGN KEY ("identity_key_id") REFERENCES "public"."keys"("key_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "connections" ADD CONSTRAINT "connections_reaper_key_id_keys_key_id_fk" FOREIGN KEY ("reaper_key_id") REFERENCES "public"."keys"("key_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "enrollment_tokens" ADD CONSTRAINT "enrollment_tokens_connection_id_connections_id_fk" FOREIGN KEY ("connection_id") REFERENCES "public"."connections"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "receipts" ADD CONSTRAINT "receipts_command_id_commands_id_fk" FOREIGN KEY ("command_id") REFERENCES "public"."commands"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "agents_instance" ON "agents" USING btree ("instance");--> statement-breakpoint
CREATE INDEX "commands_unsettled" ON "commands" USING btree ("created_at") WHERE "commands"."settled_at" IS NULL;--> statement-breakpoint
CREATE UNIQUE INDEX "commands_spawn_of_agent" ON "commands" USING btree ("agent_id") WHERE "commands"."kind" = 'agent.spawn';--> statement-breakpoint
CREATE INDEX "commands_agent" ON "commands" USING btree ("agent_id");--> statement-breakpoint
CREATE UNIQUE INDEX "connections_live_instance" ON "connections" USING btree ("instance_id") WHERE "connections"."state" IN ('PENDING', 'ACTIVE', 'SUSPENDED');--> statement-breakpoint
CREATE INDEX "receipts_command" ON "receipts" USING btree ("command_id");--> statement-breakpoint
CREATE INDEX "receipts_agent" ON "receipts" USING btree ("agent_id");