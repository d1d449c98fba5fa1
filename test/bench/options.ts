import { parseArgs } from 'node:util';

const USAGE = `npm run bench [-- OPTIONS]
  --only a,c  these sections only; all: every one; a,b,c,d,e unless told (test/bench/README.md says what each measures)
  --quick     a tenth of the samples: to see that it runs, not to quote
  --json      one line of JSON for each figure, as it is taken
  --help      this text`;

const EVERY = 'a,b,c,d,e,f,g,h,i,j,k,l';

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
  const wanted = values.only === 'all' ? EVERY : values.only;
  return { sections: new Set(wanted.split(',')), isQuick: values.quick, isJson: values.json };
}

function parsed() {
  try {
    return parseArgs({
      options: {
        only: { type: 'string', default: 'a,b,c,d,e' },
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
