import { failure, fieldOf, type Tool } from './tool.js';

/** Declares the work done. What becomes of it is decided outside. */
export function submitTool(): Tool {
  return {
    definition: {
      name: 'submit',
      description:
        'Declares the work done. Everything that changed in the work tree is then committed and reviewed. Call it once, at the end.',
      input_schema: {
        type: 'object',
        properties: {
          summary: {
            type: 'string',
            description: 'What was done: a first line of at most 72 characters, then more if needed.',
          },
        },
        required: ['summary'],
      },
    },
    describe: () => 'submit',
    run: async (input) => {
      const summary = fieldOf(input, 'summary');
      if (typeof summary !== 'string' || summary.trim() === '') return failure('summary: must be text');
      return { text: 'submitted', isError: false, summary: summary.trim() };
    },
  };
}
