import { parseArgs } from 'node:util';

const USAGE = `npm run bench [-- OPTIONS]
  --only a,c  these sections only; b,e,a,d,c unless told (test/bench/README.md says what each measures)
  --quick     a tenth of the samples: to see that it runs, not to quote
  --json      one line of JSON for each figure, as it is taken
  --help      this text`;

export interface BenchOptions {
  sections: ReadonlySet<string>;
  isQuick: boolean;
  isJson: boolean;
}

/** Reads the command line. Ends the process after `--help`, and with 2 where something in it is not known. */
export function readOptions(): BenchOptions {
  const values = parsed();
  if (values === undefined || values.help) {
    (values === undefined ? console.error : console.log)(USAGE);
    process.exit(values === undefined ? 2 : 0);
  }
  return { sections: new Set(values.only.split(',')), isQuick: values.quick, isJson: values.json };
}

function parsed() {
  try {
    return parseArgs({
      options: {
        only: { type: 'string', default: 'b,e,a,d,c' },
        quick: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    return undefined;
  }
}
