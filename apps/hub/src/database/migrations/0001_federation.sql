CREATE TABLE "epochs" (
	"name" text PRIMARY KEY NOT NULL,
	"value" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "key_statements" (
	"digest" "bytea" PRIMARY KEY NOT NULL,
	"owner" text NOT NULL,
	"new_key_id" text NOT NULL,
	"old_key_id" text NOT NULL,
	"envelope" "bytea" NOT NULL,
	"received_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "kill_epochs" (
	"instance" text NOT NULL,
	"scope" text NOT NULL,
	"scope_id" text NOT NULL,
	"epoch" bigint NOT NULL,
	"armed" boolean NOT NULL,
	"ordered_by" text NOT NULL,
	"connection" text NOT NULL,
	"changed_at" timestamp with time zone NOT NULL,
	CONSTRAINT "kill_epochs_instance_scope_scope_id_pk" PRIMARY KEY("instance","scope","scope_id")
);
--> statement-breakpoint
CREATE TABLE "operators" (
	"id" text PRIMARY KEY NOT NULL,
	"display_name" text NOT NULL,
	"key_id" text NOT NULL,
	"created_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "probes" (
	"instance" text PRIMARY KEY NOT NULL,
	"asked_at" timestamp with time zone NOT NULL,
	"answered_at" timestamp with time zone,
	"code" text,
	"proven_at" timestamp with time zone,
	"latency_ms" integer,
	"receipt" "bytea"
);
--> statement-breakpoint
CREATE TABLE "tree_heads" (
	"log_id" text NOT NULL,
	"size" bigint NOT NULL,
	"root" "bytea" NOT NULL,
	"envelope" "bytea" NOT NULL,
	"received_at" timestamp with time zone NOT NULL,
	CONSTRAINT "tree_heads_log_id_size_pk" PRIMARY KEY("log_id","size")
);
--> statement-breakpoint
ALTER TABLE "commands" ADD COLUMN "issuer" text;--> statement-breakpoint
ALTER TABLE "commands" ADD COLUMN "admission" "bytea";--> statement-breakpoint
ALTER TABLE "connections" ADD COLUMN "suspended_by" text[] DEFAULT '{}'::text[] NOT NULL;--> statement-breakpoint
ALTER TABLE "connections" ADD COLUMN "wished_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "connections" ADD COLUMN "sealing_key" "bytea";--> statement-breakpoint
ALTER TABLE "connections" ADD COLUMN "root_key" "bytea";--> statement-breakpoint
ALTER TABLE "tokens" ADD COLUMN "made_by" text[] DEFAULT '{}'::text[] NOT NULL;--> statement-breakpoint
ALTER TABLE "tokens" ADD COLUMN "removed_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "operators" ADD CONSTRAINT "operators_key_id_keys_key_id_fk" FOREIGN KEY ("key_id") REFERENCES "public"."keys"("key_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
UPDATE "keys" SET "purposes" = array_append("purposes", 'command') WHERE 'receipt' = ANY("purposes") AND NOT 'command' = ANY("purposes");