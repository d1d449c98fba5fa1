import { askDesk, type Submission } from './submit-desk.js';
import { failure, fieldOf, type Tool } from './tool.js';

/**
 * Declares the work done. What becomes of it is decided outside: what does not pass comes back as an error with its reason.
 *
 * @param socketPath where submissions are judged
 */
export function submitTool(socketPath: string): Tool {
  return {
    definition: {
      name: 'submit',
      description:
        'Declares the work done. Everything that changed in the work tree is then searched for secrets, compared with what others have pushed, and judged. What does not pass comes back as an error that says why: mend it, and submit again.',
      input_schema: {
        type: 'object',
        properties: {
          summary: {
            type: 'string',
            description: 'What was done: a first line of at most 72 characters, then more if needed.',
          },
          onto: {
            type: 'string',
            description: 'Only after a conflict: the commit that the answer named, once its content is in your files.',
          },
          by: {
            type: 'string',
            enum: ['rebase', 'merge'],
            description: 'Only with onto: how your work stands on that commit. Default: rebase.',
          },
        },
        required: ['summary'],
      },
    },
    describe: () => 'submit',
    run: async (input, signal) => {
      const summary = fieldOf(input, 'summary');
      if (typeof summary !== 'string' || summary.trim() === '') return failure('summary: must be text');
      const submission: Submission = { summary: summary.trim() };
      for (const name of ['onto', 'by'] as const) {
        const value = fieldOf(input, name);
        if (value === undefined || value === '') continue;
        if (typeof value !== 'string') return failure(`${name}: must be text`);
        submission[name] = value;
      }
      const answer = await askDesk(socketPath, submission, signal);
      if (!answer.accepted) return failure(answer.text);
      return { text: 'submitted', isError: false, summary: submission.summary };
    },
  };
}
